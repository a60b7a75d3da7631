"""Masks through time: from keyframes to all frames, and again where something was corrected."""
