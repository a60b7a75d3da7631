"""What tracking has to beat: the first mask repeated, and the first mask carried along by optical flow."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.clips import AnnotatedClip
from benchmarks.scores import BoolMask

Baseline = Callable[[AnnotatedClip, BoolMask, int], Iterator[tuple[int, BoolMask]]]


def repeat_first(clip: AnnotatedClip, mask: BoolMask, start: int) -> Iterator[tuple[int, BoolMask]]:
    """Yield (frame, mask) from the frame after `start` on: always the same mask."""
    for index in range(start + 1, len(clip)):
        yield index, mask


def warp_by_flow(clip: AnnotatedClip, mask: BoolMask, start: int) -> Iterator[tuple[int, BoolMask]]:
    """Yield (frame, mask) from the frame after `start` on: the last mask warped by DIS optical flow at full size."""
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    height, width = clip.size_hw
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    share = mask.astype(np.float32)
    before = _grey(clip.frame(start))
    for index in range(start + 1, len(clip)):
        now = _grey(clip.frame(index))
        # From this frame to the last one, so that every pixel knows where to look up its mask.
        flow = estimator.calc(now, before, None)  # type: ignore[call-overload]
        warped = cv2.remap(share, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR)
        share = np.asarray(warped, np.float32)
        before = now
        yield index, share > 0.5


def _grey(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8)
