"""Clips at the working size of a tracker, as they are and disturbed; every file is read once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.clips import AnnotatedClip
from benchmarks.scores import BoolMask
from tam_backend.tracking.scaling import Scaling
from tam_backend.types import RgbFrame

Ids = NDArray[np.int64]
# A pan takes this share of its frames to leave the scene, and as many to come back.
_PAN_RAMP = 0.35


class Shelf:
    """Frames and true masks at working sizes, kept for all ways of tracking a clip: they do not depend on weights."""

    def __init__(self) -> None:
        self._frames: dict[tuple[Path, tuple[int, int]], RgbFrame] = {}
        self._ids: dict[tuple[Path, tuple[int, int]], Ids] = {}

    def frame(self, clip: AnnotatedClip, at: int, size_hw: tuple[int, int]) -> RgbFrame:
        """Return a frame, (h, w, 3) uint8."""
        key = clip.frames[at], size_hw
        if key not in self._frames:
            whole = clip.frame(at)
            interpolation = cv2.INTER_AREA if size_hw[0] < whole.shape[0] else cv2.INTER_LINEAR
            small = cv2.resize(whole, size_hw[::-1], interpolation=interpolation)
            self._frames[key] = np.asarray(small, np.uint8)
        return self._frames[key]

    def ids(self, clip: AnnotatedClip, at: int, scaling: Scaling) -> Ids:
        """Return the object ids of an annotated frame, (h, w)."""
        key = clip.masks[at], scaling.working_hw
        if key not in self._ids:
            whole = clip.ids(at)
            self._ids[key] = scaling.index_mask({each: whole == each for each in clip.ids_at[at]}).cpu().numpy()
        return self._ids[key]


@dataclass(frozen=True, eq=False)
class Shown:
    """A frame as the tracker sees it.

    Args:
        pixels: (h, w, 3) uint8.
        ids: (h, w), what is to be seen of the objects; None where nobody drew it.
        away: it shows another scene, so that all objects are absent.
    """

    pixels: RgbFrame
    ids: Ids | None
    away: bool = False


class Disturbance:
    """Shows a clip, with the middle third of its frames changed.

    Args:
        shelf: where frames are read.
        clip: what is tracked.
        scaling: to the working size.
        kind: "cut" to another clip, "pan" to another scene and back, "patch" over the objects, "blur", or "" for none.
        foreign: the other clip.
        frames: those that are tracked, in their order.
        rng: decides the patch's look and the pan's direction.
    """

    def __init__(
        self,
        shelf: Shelf,
        clip: AnnotatedClip,
        scaling: Scaling,
        kind: str,
        foreign: AnnotatedClip,
        frames: Sequence[int],
        rng: np.random.Generator,
    ) -> None:
        self._shelf, self._clip, self._scaling, self._foreign = shelf, clip, scaling, foreign
        self._hw = scaling.working_hw
        self._disturbed = list(frames[len(frames) // 3 : 2 * len(frames) // 3]) if kind else []
        noise = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        self._texture = cv2.resize(noise, self._hw[::-1], interpolation=cv2.INTER_CUBIC)
        self._leftwards = bool(rng.integers(2))
        changes: dict[str, Callable[[int], Shown]] = {
            "cut": self._cut,
            "pan": self._panned,
            "patch": self._patched,
            "blur": self._blurred,
        }
        self._change = changes.get(kind, self._plain)

    def __call__(self, at: int) -> Shown:
        """Return a frame."""
        return self._change(at) if at in self._disturbed else self._plain(at)

    def _plain(self, at: int) -> Shown:
        ids = self._shelf.ids(self._clip, at, self._scaling) if at in self._clip.masks else None
        return Shown(self._shelf.frame(self._clip, at, self._hw), ids)

    def _other_scene(self, at: int) -> RgbFrame:
        return self._shelf.frame(self._foreign, at % len(self._foreign), self._hw)

    def _cut(self, at: int) -> Shown:
        return Shown(self._other_scene(at), np.zeros(self._hw, np.int64), away=True)

    def _panned(self, at: int) -> Shown:
        """The camera turns aside until it shows the other scene alone, and back."""
        progress = (self._disturbed.index(at) + 1) / (len(self._disturbed) + 1)
        out = min(1.0, min(progress, 1 - progress) / _PAN_RAMP)
        plain, width = self._plain(at), self._hw[1]
        gone = round(out * width)
        if gone == width:
            return self._cut(at)
        here, there = [plain.pixels, self._other_scene(at)], [plain.ids, np.zeros(self._hw, np.int64)]
        start = gone
        if self._leftwards:
            here, there, start = here[::-1], there[::-1], width - gone
        window = slice(start, start + width)
        ids = None if plain.ids is None else np.hstack([part for part in there if part is not None])[:, window]
        return Shown(np.hstack(here)[:, window], ids)

    def _blurred(self, at: int) -> Shown:
        plain = self._plain(at)
        return Shown(np.asarray(cv2.GaussianBlur(plain.pixels, (0, 0), min(self._hw) / 60), np.uint8), plain.ids)

    def _patched(self, at: int) -> Shown:
        plain = self._plain(at)
        nearest = min((each for each, ids in self._clip.ids_at.items() if ids), key=lambda each: abs(each - at))
        drawn = self._shelf.ids(self._clip, nearest, self._scaling)
        x, y, width, height = cv2.boundingRect((drawn > 0).astype(np.uint8))
        hidden: BoolMask = np.zeros(self._hw, bool)
        # Before every third frame the patch hides a half, else all.
        hidden[y : y + height, x : x + (width // 2 if at % 3 == 0 else width)] = True
        ids = None if plain.ids is None else np.where(hidden, 0, plain.ids)
        return Shown(np.where(hidden[..., None], self._texture, plain.pixels), ids)
