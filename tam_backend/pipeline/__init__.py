"""The Track Anything loop: prompts, propagation, quality."""
