"""What people look at: the status page and a page for each task."""
