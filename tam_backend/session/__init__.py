"""What a human said of one video, and what follows from it."""
