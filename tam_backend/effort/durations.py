"""Lengths of time, for people."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Say a length of time in the unit that fits.

    >>> duration(42), duration(600), duration(9000)
    ('42 s', '10.0 min', '2.5 h')
    """
    if abs(seconds) < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if abs(seconds) < 6000 else f"{seconds / 3600:.1f} h"
