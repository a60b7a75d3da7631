"""One pass of a tracker over a video, in either direction: what is done with a single frame."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from tam_backend.models.protocols import Models
from tam_backend.pipeline.fair_lock import FairLock
from tam_backend.pipeline.prefetch import prefetched
from tam_backend.pipeline.quality import QualityMeter
from tam_backend.pipeline.scaling import Scaling
from tam_backend.pipeline.stopwatch import Stopwatch
from tam_backend.types import BoolMask, Mask, Source, VideoSource


@dataclass(frozen=True, eq=False)
class Workplace:
    """What every pass works with: the networks, the lock of their device, the video, and the clock."""

    models: Models
    lock: FairLock
    video: VideoSource
    scaling: Scaling
    stopwatch: Stopwatch


@dataclass(frozen=True, eq=False)
class TrackedMask:
    """One object's mask on one frame, and where it comes from."""

    mask: Mask
    source: Source


class TrackerPass:
    """A tracker of its own, led over frames in the order the caller chooses."""

    def __init__(self, workplace: Workplace) -> None:
        self._workplace = workplace
        with workplace.lock:
            self._tracker = workplace.models.new_tracker()
        self._meter = QualityMeter(workplace.models.profile)

    @property
    def object_ids(self) -> tuple[int, ...]:
        """The objects that the tracker knows, ascending."""
        return self._tracker.object_ids

    def frames(self, frames: Sequence[int]) -> Generator[tuple[int, Tensor], None, None]:
        """Make frames ready for `track`, in their order; the next ones while the caller works on one.

        Yields:
            Index and (3, h, w) float32 RGB in 0..1 at the working size, on the networks' device.
        """
        return prefetched(frames, self._image)

    def track(
        self, image: Tensor, given: Mapping[int, Mask], *, permanent: bool = True, last: bool = False
    ) -> dict[int, TrackedMask]:
        """Advance by one frame; see `Tracker.track`.

        Args:
            image: of `frames`.
            given: object id -> a mask to be taken as it is.
            permanent: whether `given` is remembered for good.
            last: whether nothing follows.

        Returns:
            Every object's mask, those of `given` as they were given.
        """
        place = self._workplace
        index = place.scaling.index_mask({each: mask.array for each, mask in given.items()}) if given else None
        with place.lock, place.stopwatch.measure("track"):
            step = self._tracker.track(image, index, sorted(given) or None, permanent=permanent, last=last)
        predicted = dict(zip(step.object_ids, place.scaling.masks(step.probabilities), strict=True))
        verdicts = self._meter.measure(step, given)
        tracked = {
            object_id: TrackedMask(Mask(predicted[object_id], verdict.quality), "propagated")
            for object_id, verdict in verdicts.items()
        }
        return tracked | {object_id: TrackedMask(mask, "prompt") for object_id, mask in given.items()}

    def memorise(self, frame: int, masks: Mapping[int, BoolMask]) -> None:
        """Keep another frame's masks for good, without moving on to it; see `Tracker.memorise`."""
        image, place = self._image(frame), self._workplace
        index = place.scaling.index_mask(masks)
        with place.lock, place.stopwatch.measure("track"):
            self._tracker.memorise(image, index, sorted(masks))

    def _image(self, frame: int) -> Tensor:
        with self._workplace.stopwatch.measure("decode"):
            return self._workplace.scaling.image(self._workplace.video[frame])
