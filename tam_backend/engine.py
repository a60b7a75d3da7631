"""The public Python API: a loaded profile, and sessions on videos. Knows nothing of HTTP or Label Studio."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import torch

from tam_backend.models import zoo
from tam_backend.models.protocols import Models
from tam_backend.session.session import Session
from tam_backend.store.sessions import StoredSession
from tam_backend.threads.fair_lock import FairLock
from tam_backend.types import VideoSource

__all__ = ["Session", "TrackAnything"]


class TrackAnything:
    """One set of networks on one device, shared by any number of sessions in any number of threads.

    The networks are used by one thread at a time, in the order of asking, one frame at a time: a click on one video
    does not wait for another video's propagation to end.

    >>> from tam_backend import Prompt, TrackAnything, open_video
    >>> tam = TrackAnything.load("compact")
    >>> with open_video("clip.mp4") as video, tam.session(video) as session:
    ...     first = session.prompt(Prompt(object_id=1, frame=0, points=[(320, 180, True)]))
    ...     for result in session.propagate():
    ...         print(result.frame, result.masks[1].shape, result.quality[1] > 0.5)
    0 (360, 640) True
    1 (360, 640) True
    2 (360, 640) True
    """

    def __init__(self, models: Models, lock: FairLock | None = None) -> None:
        self._models = models
        self._lock = lock or _lock_of(models.device)

    @classmethod
    def load(
        cls,
        profile: str = "compact",
        device: str = "auto",
        weights_folder: Path | None = None,
        tracker_side: int | None = None,
        refine: bool | None = None,
    ) -> TrackAnything:
        """Load a profile's networks.

        Args:
            profile: its name; `tam-backend profiles` lists them.
            device: "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1", ...
            weights_folder: where fetched weights are; None = where the settings say.
            tracker_side: the shorter side, in pixels, that frames are scaled to before tracking; None = the profile's.
                More keeps finer detail and takes longer, about in proportion to the area. Masks always come at the
                original size.
            refine: whether the segmenter refines doubtful masks unless a call says otherwise; None = the profile's way.

        Raises:
            ProfileError: no such profile.
            WeightsError: its weights are missing or damaged.
            DeviceError: the device is not there.
        """
        models = zoo.load(profile, device, weights_folder)
        side = models.tracker_side if tracker_side is None else tracker_side
        return cls(replace(models, tracker_side=side, refines=models.refines if refine is None else refine))

    def adapted(self, version: str, segmenter: Path | None, tracker: Path | None) -> TrackAnything:
        """Return networks that learnt from a project, on the same device and used as these are, by turns with them.

        Args:
            version: names them.
            segmenter, tracker: weights of the compact profile's networks, each recorded in the manifest beside it;
                None = the package's.

        Raises:
            WeightsError: they are missing, damaged or of another network.
        """
        models = zoo.load_adapted(version, segmenter, tracker, self._models.device)
        used = self._models
        return TrackAnything(replace(models, tracker_side=used.tracker_side, refines=used.refines), self._lock)

    @property
    def models(self) -> Models:
        """What was loaded. Another profile is another `TrackAnything`: sessions keep the networks they began with."""
        return self._models

    def session(self, video: VideoSource, stored: StoredSession | None = None) -> Session:
        """Begin work on a video, or go on with it. The video stays the caller's, to be closed after the session.

        Args:
            video: frames, all of one size.
            stored: of `SessionStore.open`, for a session that outlives the process; belongs to the session from now on.

        Raises:
            EmptyVideoError: the video has no frame.
        """
        return Session(self._models, self._lock, video, stored)


def _lock_of(device: torch.device) -> FairLock:
    """Return the lock around a device: one for all networks on a GPU, which share what graphs work in (`captured`)."""
    if device.type != "cuda":
        return FairLock()
    return _lock_of_gpu(torch.cuda.current_device() if device.index is None else device.index)


@cache
def _lock_of_gpu(_index: int) -> FairLock:
    return FairLock()
