"""SAM 2.1 as a tracker: its memory attention behind our protocol, with a memory that does not grow."""
