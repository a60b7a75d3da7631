"""Locks and caches that several threads share."""
