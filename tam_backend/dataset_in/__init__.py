"""Datasets come in: readers of the usual formats give each video's frames, and the masks on them."""
