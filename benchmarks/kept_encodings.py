"""Frames that a tracker has encoded once, kept for all further passes over the same clip: only time is saved."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from tam_backend import TrackAnything
from tam_backend.models.protocols import EncodedImage, Tracker, TrackingStep


@dataclass
class Encodings:
    """What was encoded, by the image; to be emptied when another clip begins."""

    kept: dict[bytes, EncodedImage] = field(default_factory=dict)

    def of(self, tracker: Tracker, image: Tensor) -> EncodedImage:
        """Return what the tracker makes of an image alone."""
        key = hashlib.blake2b(image.cpu().numpy().tobytes()).digest()
        if key not in self.kept:
            self.kept[key] = tracker.encode(image)
        return self.kept[key]


class EncodingTracker:
    """A tracker that looks its images up.

    Args:
        tracker: does the work.
        encodings: of trackers over the same network.
    """

    def __init__(self, tracker: Tracker, encodings: Encodings) -> None:
        self._tracker = tracker
        self._encodings = encodings

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tracker, name)

    def encode(self, image: Tensor) -> EncodedImage:
        """See `Tracker.encode`."""
        return self._encodings.of(self._tracker, image)

    def track(self, image: Tensor | EncodedImage, *arguments: Any, **named: Any) -> TrackingStep:
        """See `Tracker.track`."""
        return self._tracker.track(self.encode(image) if isinstance(image, Tensor) else image, *arguments, **named)


def with_kept_encodings(tam: TrackAnything) -> tuple[TrackAnything, Encodings]:
    """Return the same networks with trackers that look their images up, and where these are kept."""
    encodings, models = Encodings(), tam.models

    def new_tracker() -> Any:
        return EncodingTracker(models.new_tracker(), encodings)

    return TrackAnything(replace(models, new_tracker=new_tracker)), encodings
