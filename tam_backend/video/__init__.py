"""Videos, folders of images and lists of frame URLs behind one protocol."""
