"""Segmenters: frame + prompts -> mask."""
