"""Made-up labeled videos, of which the truth is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from synthetic import MovingDiscs

from tam_backend.adaptation.labeled import LabeledVideo


def labeled_discs(name: str, frames: Sequence[int] = range(0, 12, 2), discs: int = 1, speed: float = 4) -> LabeledVideo:
    """Return a video of moving discs with the true masks of some frames."""
    starts, steps = ((30, 40), (90, 60)), ((speed, 1), (-speed, 0.5))
    video = MovingDiscs(name=name, starts_xy=starts[:discs], steps_xy=steps[:discs])
    masks = {}
    for at in frames:
        masks[at] = np.zeros(video.size_hw, np.uint8)
        for disc in range(1, discs + 1):
            masks[at][video.truth(at, disc)] = disc
    return LabeledVideo(name, video, masks)
