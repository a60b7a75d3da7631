"""The main job from end to end, for people who want to see it: `make demo`."""
