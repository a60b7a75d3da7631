"""What comes of learning from labels that are wrong: `python -m benchmarks.bad_labels OUT.json CLIP:PARTS`.

A clip is cut into parts; from the last but one and the one before, of which one is held out, the networks learn through
`adapt`, with its gate. Their labels are spoiled, those of the held-out part too: nobody tells the backend which are
wrong. What users get is then measured on the last part by its true masks. Written after every step and gone on with, as
`benchmarks.adaptation` does.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch

from benchmarks.adaptation import (
    AS_LONG_AS_IT_TAKES_S,
    BASE,
    MEMORY_BYTES,
    adapted,
    domain,
    labeled,
    measure,
    measure_served,
)
from benchmarks.clips import AnnotatedClip
from tam_backend.adaptation.labeled import IdMask, LabeledVideo
from tam_backend.adaptation.outcome import AdaptationLimits
from tam_backend.errors import TamError
from training.validation import load_both


class Place(NamedTuple):
    """Which mask it is: the how many-th of its video, and of which video; both from 0."""

    number: int
    video: int


Spoil = Callable[[IdMask, Place], IdMask]
"""What stands in a mask's place instead."""

_POISONED_SHARE = 0.1


def anywhere(mask: IdMask, place: Place) -> IdMask:
    """Replace one mask in ten, at least one a video, by an ellipse anywhere."""
    rng = np.random.default_rng((place.video, place.number))
    if place.number != place.video + 1 and rng.random() >= _POISONED_SHARE:
        return mask
    height, width = mask.shape
    drawn = np.zeros(mask.shape, np.uint8)
    middle = int(rng.integers(width)), int(rng.integers(height))
    axes = int(rng.integers(width // 12, width // 4)), int(rng.integers(height // 12, height // 4))
    return np.asarray(cv2.ellipse(drawn, middle, axes, 0, 0, 360, 1, -1), np.uint8)


def two_things(mask: IdMask, place: Place) -> IdMask:
    """Let two annotators take turns, of whom the second draws something else."""
    return np.roll(mask, mask.shape[1] // 2, 1) if place.number % 2 else mask


def whole_and_part(mask: IdMask, place: Place) -> IdMask:
    """Draw the whole object once and its upper half the next time."""
    return _upper_half(mask) if place.number % 2 else mask


def other_meaning(mask: IdMask, place: Place) -> IdMask:
    """Mean the whole object in the first video, and its upper half from the second one on."""
    return _upper_half(mask) if place.video else mask


def empty_masks(mask: IdMask, place: Place) -> IdMask:
    """Leave the masks of every video but the first empty."""
    return np.zeros_like(mask) if place.video else mask


KINDS: Mapping[str, Spoil] = {
    each.__name__.replace("_", " "): each for each in (anywhere, two_things, whole_and_part, other_meaning, empty_masks)
}
ONE_VIDEO = "one video only"


class SpoiledMasks(Mapping[int, IdMask]):
    """The masks of a video, some of them wrong."""

    def __init__(self, masks: Mapping[int, IdMask], spoil: Spoil, video: int) -> None:
        self._masks, self._spoil, self._video = masks, spoil, video
        self._numbers = {at: number for number, at in enumerate(sorted(masks))}

    def __getitem__(self, at: int) -> IdMask:
        return self._spoil(self._masks[at], Place(self._numbers[at], self._video))

    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)


def spoiled(clip: AnnotatedClip, spoil: Spoil, video: int) -> LabeledVideo:
    """Return a clip with wrong labels."""
    true = labeled(clip)
    return replace(true, masks=SpoiledMasks(true.masks, spoil, video))


def row(kind: str, clips: list[AnnotatedClip], before: Mapping[str, float], limits: AdaptationLimits) -> dict[str, Any]:
    """Learn from labels of one kind, and measure what users get."""
    *learnt, unseen = clips[-2:] if kind == ONE_VIDEO else clips[-3:]
    videos = [spoiled(clip, KINDS.get(kind, lambda mask, _: mask), video) for video, clip in enumerate(learnt)]
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = adapted(videos, limits, Path(folder))
        except TamError as error:
            return {"refused": f"{error.message} {error.remedy}", "served": dict(before)}
    return {"said": found.said, "served": measure_served(found, before, None, unseen)}


def print_table(rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Print what users get, kind by kind, and what was said."""
    print(f"{'labels':<16}{'first mask':>11}{'one click':>11}{'clicks':>8}  said")
    for kind, found in rows.items():
        figures = found.get("served", found)
        said = found.get("refused") or found.get("said", {}).get("reason", "what serves without learning")
        print(f"{kind:<16}{figures['mask']:>11.1f}{figures['click']:>11.1f}{figures['clicks']:>8.1f}  {said}")


def _upper_half(mask: IdMask) -> IdMask:
    rows = np.flatnonzero(mask.any(1))
    if len(rows) == 0:
        return mask
    half = mask.copy()
    half[(rows[0] + rows[-1]) // 2 :] = 0
    return half


def main() -> None:
    """Measure what is not in the file yet, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="JSON; gone on with if it is there")
    parser.add_argument("clip", help="FOLDER:PARTS, three parts at least")
    parser.add_argument("--iterations", type=int, default=60, help="that each network learns")
    parser.add_argument("--kinds", nargs="+", default=[*KINDS, ONE_VIDEO], choices=[*KINDS, ONE_VIDEO])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    _, clips = domain(f"clip={options.clip}")
    limits = AdaptationLimits(AS_LONG_AS_IT_TAKES_S, MEMORY_BYTES, options.threads, options.iterations)
    rows: dict[str, dict[str, Any]] = json.loads(options.out.read_text()) if options.out.exists() else {}
    if "base" not in rows:
        rows["base"] = asdict(measure(load_both(BASE.segmenter, BASE.tracker), clips[-1]))
    for kind in options.kinds:
        if kind not in rows:
            rows[kind] = row(kind, clips, rows["base"], limits)
        options.out.write_text(json.dumps(rows, indent=1) + "\n")
    print_table(rows)


if __name__ == "__main__":
    main()
