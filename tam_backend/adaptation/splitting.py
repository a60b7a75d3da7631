"""Which videos are learnt from, and which are kept apart to judge what was learnt."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from tam_backend.adaptation.gate import LEAST_JUDGED
from tam_backend.adaptation.kept_video import KeptVideo
from tam_backend.errors import TooLittleError

_HELD_OUT_SHARE, _MOST_HELD_OUT = 0.3, 4


class Split(NamedTuple):
    """Names of videos."""

    learnt_from: tuple[str, ...]
    held_out: tuple[str, ...]


def usable(videos: Sequence[KeptVideo], notes: list[str]) -> list[KeptVideo]:
    """Return the videos that something can be learnt from; of the others `notes` gets a sentence.

    Raises:
        TooLittleError: fewer than two are left.
    """
    good = []
    for video in videos:
        if len(video.ids) < 2:
            notes.append(f"{video.name} was left out: it has {len(video.ids)} labeled frames, and it takes two.")
        elif not any(ids.any() for ids in video.ids.values()):
            notes.append(f"{video.name} was left out: all its masks are empty.")
        else:
            good.append(video)
    if len(good) < 2:
        having = f"only {good[0].name} has" if good else "no video has"
        raise TooLittleError(
            f"To learn from one video and judge on another it takes two, and {having} corrected or confirmed masks"
            f" on two frames. {' '.join(notes)}".rstrip(),
            "Label a second video." if good else "Label two videos.",
        )
    return good


def split(videos: Sequence[KeptVideo]) -> Split:
    """Keep one of two or three videos apart, and about a third of more, four at most; at least one is learnt from.

    The same names are split in the same way every time. Those with labels enough to be judged by are kept apart first.
    """
    count = min(_MOST_HELD_OUT, max(1, round(_HELD_OUT_SHARE * len(videos))))
    ranked = sorted(videos, key=lambda each: (len(each.ids) <= LEAST_JUDGED, _number(each.name)))
    held_out = {each.name for each in ranked[:count]}
    names = [each.name for each in videos]
    return Split(tuple(n for n in names if n not in held_out), tuple(n for n in names if n in held_out))


def _number(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()
