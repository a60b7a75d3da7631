"""Track Anything for Label Studio: one click becomes a mask on every frame.

The public Python API, errors included. torch is imported when `TrackAnything` is first used, not here.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from tam_backend.errors import (
    AdaptationError,
    BusyError,
    CancelledError,
    DamagedWeightsError,
    DeviceError,
    EmptyVideoError,
    FrameOutOfRangeError,
    HttpError,
    InvalidInputError,
    InvalidPromptError,
    LabelConfigError,
    LabelStudioError,
    LabelStudioRefusedError,
    MediaError,
    MediaForbiddenError,
    MediaNotFoundError,
    MediaStoreError,
    MediaTimeoutError,
    MediaTooLargeError,
    MissingPackageError,
    NotFoundError,
    OutputError,
    OverloadedError,
    PayloadError,
    PayloadTooLargeError,
    ProfileError,
    PromptOffFrameError,
    RegionError,
    StoreError,
    TamError,
    TooLittleError,
    UnauthorizedError,
    UnreadableMediaError,
    WeightsError,
    WorkerLostError,
)
from tam_backend.types import FrameResult, Mask, Point, Prompt, VideoSource
from tam_backend.video import open_video

if TYPE_CHECKING:
    from tam_backend.engine import Session, TrackAnything

__version__ = "0.1.0"

# Before anything imports torch: its OpenMP threads otherwise spin while they wait, and on a machine that something else
# keeps busy too (Label Studio, a decoder, a test) a frame then takes 10 to 20 times as long (measured, 2 cores).
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

__all__ = [
    "AdaptationError",
    "BusyError",
    "CancelledError",
    "DamagedWeightsError",
    "DeviceError",
    "EmptyVideoError",
    "FrameOutOfRangeError",
    "FrameResult",
    "HttpError",
    "InvalidInputError",
    "InvalidPromptError",
    "LabelConfigError",
    "LabelStudioError",
    "LabelStudioRefusedError",
    "Mask",
    "MediaError",
    "MediaForbiddenError",
    "MediaNotFoundError",
    "MediaStoreError",
    "MediaTimeoutError",
    "MediaTooLargeError",
    "MissingPackageError",
    "NotFoundError",
    "OutputError",
    "OverloadedError",
    "PayloadError",
    "PayloadTooLargeError",
    "Point",
    "ProfileError",
    "Prompt",
    "PromptOffFrameError",
    "RegionError",
    "Session",
    "StoreError",
    "TamError",
    "TooLittleError",
    "TrackAnything",
    "UnauthorizedError",
    "UnreadableMediaError",
    "VideoSource",
    "WeightsError",
    "WorkerLostError",
    "__version__",
    "open_video",
]


def __getattr__(name: str) -> Any:
    if name in ("Session", "TrackAnything"):
        from tam_backend import engine  # noqa: PLC0415 - torch takes seconds to import; `--help` must be quick

        return getattr(engine, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
