"""What adaptation learns from: videos with the masks that people gave or confirmed. Importable without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tam_backend.types import VideoSource

IdMask = NDArray[np.integer[Any]]
"""(H, W) at the original size of the frames: 0 = background, i = object i."""


@dataclass(frozen=True, eq=False)
class LabeledVideo:
    """A video and the masks on it that can be trusted.

    Args:
        name: how people know it, for sentences about it; also how it is told from the others, so no two share one.
        video: the frames; stays the caller's, to be closed when adaptation has ended.
        masks: frame index -> ids, only of frames that a human drew, corrected or confirmed. Such a frame speaks for
            every object of the video: one that it does not show is absent there. Decode lazily: each is read a few
            times, never all at once.
    """

    name: str
    video: VideoSource
    masks: Mapping[int, IdMask]
