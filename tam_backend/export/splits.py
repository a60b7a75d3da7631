"""Which videos are for training, validation and test: whole videos, as the frames of one video are alike."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from tam_backend.errors import InvalidInputError

PARTS = ("train", "val", "test")


def read_fractions(text: str) -> tuple[float, ...]:
    """Read "0.8/0.1/0.1": what part of the videos is for training, validation and test; test may be missing.

    Raises:
        InvalidInputError: it is something else, or does not add up to 1.
    """
    try:
        fractions = tuple(float(part) for part in text.split("/"))
    except ValueError:
        fractions = ()
    fits = 2 <= len(fractions) <= len(PARTS) and all(0 <= each <= 1 for each in fractions)
    if not fits or not math.isclose(sum(fractions), 1, abs_tol=1e-6):
        raise InvalidInputError(f"--split {text!r} is no split.", "Give for instance 0.8/0.1/0.1, which adds up to 1.")
    return fractions


def split_videos(names: Sequence[str], fractions: Sequence[float], seed: int) -> dict[str, str]:
    """Return video -> part. The same names and seed give the same parts, in whatever order the names come.

    Every part that is wanted gets a video, if there are enough.

    >>> sorted(split_videos(["a", "b", "c"], (0.8, 0.1, 0.1), 0).values())
    ['test', 'train', 'val']
    """
    shuffled = sorted(names)
    random.Random(seed).shuffle(shuffled)  # noqa: S311 - no secret
    wanted = [part for part, fraction in zip(PARTS, fractions, strict=False) if fraction > 0]
    counts = dict.fromkeys(wanted, 0)
    share = dict(zip(PARTS, fractions, strict=False))
    for _ in shuffled:
        # The part that lacks most; one that has nothing lacks more than any that has something.
        lacking = {part: share[part] * len(shuffled) - counts[part] for part in wanted}
        chosen = max(wanted, key=lambda part: (counts[part] == 0, lacking[part]))
        counts[chosen] += 1
    parts = [part for part in wanted for _ in range(counts[part])]
    return dict(zip(shuffled, parts, strict=True))
