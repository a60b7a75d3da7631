"""What both trackers share: how a memory is read, how objects compete for pixels, and what trackers accept."""
