"""What can go wrong in the demo, as a sentence for the person who runs it."""

from __future__ import annotations


class DemoError(Exception):
    """The demo cannot go on; the message says what failed and where to look."""
