"""Compact networks that learn from a project's corrected videos, and the evidence on which they replace others."""
