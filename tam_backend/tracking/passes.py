"""One pass of a tracker over a video, in either direction: what is done with a single frame."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

from tam_backend.errors import MediaError, MediaNotFoundError, UnreadableMediaError
from tam_backend.models.devices import take_cores
from tam_backend.models.protocols import EncodedImage, Models
from tam_backend.models.transfers import Transfer
from tam_backend.quality.meter import QualityMeter, Verdict
from tam_backend.threads.fair_lock import FairLock
from tam_backend.tracking.keyframes import ObjectKeyframes
from tam_backend.tracking.prefetch import prefetched, run_ahead
from tam_backend.tracking.refinement import Judgement, Refiner
from tam_backend.tracking.scaling import Scaling
from tam_backend.tracking.stopwatch import Stopwatch
from tam_backend.types import BoolMask, Mask, RgbFrame, Source, VideoSource
from tam_backend.video.base import FrameSource

DAMAGE = (UnreadableMediaError, MediaNotFoundError)
"""What is wrong with one frame and not with all of them: such a frame is left out."""

# Keyframes of an object, besides the frame that a pass starts from, that its tracker is shown: the nearest.
_KEYFRAMES_SHOWN = 4
# One takes some 5 ms for a JPEG file of 480 x 854 pixels, a GPU for all else as long.
_MOST_READERS = 4


@dataclass(frozen=True, eq=False)
class Workplace:
    """What every pass works with: the networks, the lock of their device, the video, and the clock.

    `refine`: whether the segmenter refines doubtful masks; `unreadable`: frames that were met and could not be read.
    """

    models: Models
    lock: FairLock
    video: VideoSource
    scaling: Scaling
    stopwatch: Stopwatch
    refine: bool = False
    unreadable: dict[int, MediaError] = field(default_factory=dict)

    @property
    def runs_ahead(self) -> bool:
        """Whether a tracker goes on while its last answers are looked at: on a GPU, which the host only feeds."""
        return self.models.device.type == "cuda"

    @property
    def shares_cores(self) -> bool:
        """Whether one thread encodes the next frames while another one tracks, each with half of the CPU's cores.

        Two operators on one core each are done sooner than one after the other on both, where threads wait for each
        other in the midst of each (docs/performance.md). Refinement in between is one long operation: it gets all.
        """
        return self.models.device.type == "cpu" and not self.refine and torch.get_num_threads() > 1

    def can_read(self, frame: int) -> bool:
        """Try a frame, and remember it if it is damaged."""
        try:
            with self.stopwatch.measure("decode"):
                _ = self.video[frame]
        except DAMAGE as error:
            self.unreadable[frame] = error
            return False
        self.unreadable.pop(frame, None)
        return True


@dataclass(frozen=True, eq=False)
class TrackedMask:
    """One object's mask on one frame, and where it comes from."""

    mask: Mask
    source: Source


@dataclass(frozen=True, eq=False)
class Sight:
    """A frame made ready.

    Args:
        index: 0-based, in the video.
        pixels: the frame as it is.
        image: (3, h, w) float32 RGB in 0..1 at the working size, on the networks' device.
        encoded: what the tracker made of the image ahead of its turn, if it did.
    """

    index: int
    pixels: RgbFrame
    image: Tensor
    encoded: EncodedImage | None = None


@dataclass(frozen=True, eq=False)
class Advance:
    """A frame that a tracker has taken, whose answer may still be on its way from the GPU.

    Args:
        object_ids: in the order of the labels.
        labels: `Scaling.labels`; 1 is the first object.
        verdicts: waits for them; to be called once for each frame of the pass, in their order.
        refined: object id -> a better mask than the labels'.
        given: object id -> a human's mask.
    """

    object_ids: tuple[int, ...]
    labels: Transfer
    verdicts: Callable[[], Mapping[int, Verdict]]
    refined: Mapping[int, Mask]
    given: Mapping[int, Mask]

    def masks(self) -> dict[int, TrackedMask]:
        """Return every object's mask, those of `given` as they were given; waits for the GPU."""
        verdicts = self.verdicts()
        (labels,) = self.labels.arrays()
        tracked = {
            object_id: TrackedMask(Mask(labels == channel, verdicts[object_id].quality), "propagated")
            for channel, object_id in enumerate(self.object_ids, start=1)
            if object_id in verdicts and object_id not in self.refined
        }
        tracked |= {object_id: TrackedMask(mask, "refined") for object_id, mask in self.refined.items()}
        return tracked | {object_id: TrackedMask(mask, "prompt") for object_id, mask in self.given.items()}


class TrackerPass:
    """A tracker of its own, led over frames in the order the caller chooses.

    Args:
        workplace: networks and video.
        refined: the objects that may be refined, if it refines at all; None: all.
    """

    def __init__(self, workplace: Workplace, refined: Collection[int] | None = None) -> None:
        self._workplace = workplace
        with workplace.lock:
            self._tracker = workplace.models.new_tracker()
        self._meter = QualityMeter(workplace.models.profile)
        self._refiner = (
            Refiner(workplace.models.segmenter, workplace.scaling, objects=refined) if workplace.refine else None
        )
        self._read_last: int | None = None

    @property
    def object_ids(self) -> tuple[int, ...]:
        """The objects that the tracker knows, ascending."""
        return self._tracker.object_ids

    def lead(
        self, frames: Sequence[int], advance: Callable[[Sight], Advance | None]
    ) -> Generator[tuple[int, dict[int, TrackedMask]], None, None]:
        """Go over frames in their order, and yield what was tracked: every object's mask.

        The next frames are made ready while the tracker works on one, and it goes on while the caller works on what it
        was given (on a CPU, where it has cores to share). A damaged frame is left out, and remembered in the workplace.

        Args:
            frames: in any order.
            advance: takes a frame, by `self.advance` or by leaving it alone (None).

        Raises:
            MediaError: the whole video cannot be read any more.
        """
        place, cores = self._workplace, torch.get_num_threads()
        if place.shares_cores:
            half = max(1, cores // 2)
            steps = self._advances(frames, advance, half)
            ahead = run_ahead(steps, begin=partial(take_cores, max(half, cores - half)))
        else:
            steps = self._advances(frames, advance)
            ahead = run_ahead(steps) if place.runs_ahead else steps
        with closing(ahead) as coming:
            for frame, step in coming:
                yield frame, {} if step is None else step.masks()

    def _advances(
        self, frames: Sequence[int], advance: Callable[[Sight], Advance | None], encoding_cores: int = 0
    ) -> Generator[tuple[int, Advance | None], None, None]:
        """Go over frames; with `encoding_cores` the thread that reads them also encodes them, on so many cores."""
        threads = self._readers(frames)
        make, begin = (self._encoded, partial(take_cores, encoding_cores)) if encoding_cores else (self._sight, None)
        with closing(prefetched(frames, make, 2 * threads, threads, begin)) as coming:
            for frame, sight in coming:
                if sight is not None:
                    yield frame, advance(sight)

    def _readers(self, frames: Sequence[int]) -> int:
        """Return how many threads read frames: a GPU waits for one, and files are read side by side.

        A video is one stream, which is read in its order.
        """
        video = self._workplace.video
        are_files = bool(frames) and isinstance(video, FrameSource) and video.file_of(frames[0]) is not None
        return min(_MOST_READERS, os.cpu_count() or 1) if self._workplace.runs_ahead and are_files else 1

    def advance(
        self, sight: Sight, given: Mapping[int, Mask], *, permanent: bool = True, last: bool = False
    ) -> Advance:
        """Take the next frame; see `Tracker.track`. Does not wait for a GPU, unless it refines.

        Args:
            sight: of `lead`.
            given: object id -> a mask to be taken as it is.
            permanent: whether `given` is remembered for good.
            last: whether nothing follows.
        """
        place = self._workplace
        index = place.scaling.index_mask({each: mask.array for each, mask in given.items()}) if given else None
        review = (
            None if self._refiner is None else Judgement(self._refiner, self._meter, place.scaling, sight.pixels, given)
        )
        verdicts: Callable[[], Mapping[int, Verdict]]
        with place.lock, place.stopwatch.measure("track"):
            step = self._tracker.track(
                sight.encoded or sight.image,
                index,
                sorted(given) or None,
                permanent=permanent,
                last=last,
                review=review,
            )
            labels = Transfer(place.scaling.labels(step.probabilities))
            if review is None:
                verdicts = partial(self._meter.judge, step.object_ids, self._meter.look(step), given)
            else:
                # At once, for whom a review follows must know what was there before.
                judged = self._meter.measure(step, given) if review.verdicts is None else review.verdicts
                verdicts = partial(dict, judged)
        return Advance(step.object_ids, labels, verdicts, {} if review is None else review.refined, given)

    def memorise_nearest(self, object_id: int, keyframes: ObjectKeyframes, start: int) -> None:
        """Memorise the object's keyframes nearest to frame `start`, which itself is left out; the nearest last."""
        shown = [frame for frame in keyframes if frame != start and keyframes.shows(frame)]
        nearest = sorted(shown, key=lambda frame: abs(frame - start))[:_KEYFRAMES_SHOWN]
        for frame in sorted(nearest, key=lambda frame: -abs(frame - start)):
            self.memorise(frame, {object_id: keyframes[frame].array})

    def memorise(self, frame: int, masks: Mapping[int, BoolMask]) -> None:
        """Keep another frame's masks for good, without moving on to it; see `Tracker.memorise`.

        A damaged frame has nothing to be remembered.
        """
        sight, place = self._sight(frame), self._workplace
        if sight is None:
            return
        index = place.scaling.index_mask(masks)
        with place.lock, place.stopwatch.measure("track"):
            self._tracker.memorise(sight.image, index, sorted(masks))

    def _encoded(self, frame: int) -> Sight | None:
        sight = self._sight(frame)
        if sight is None:
            return None
        with self._workplace.stopwatch.measure("track"):
            return replace(sight, encoded=self._tracker.encode(sight.image))

    def _sight(self, frame: int) -> Sight | None:
        place = self._workplace
        with place.stopwatch.measure("decode"):
            try:
                pixels = place.video[frame]
            except DAMAGE as error:
                last = self._read_last  # looked at once: other readers change it meanwhile
                if last is not None:
                    _ = place.video[last]  # if that fails too, it is not the frame that is damaged
                    if self._read_last == last:
                        self._read_last = None
                place.unreadable[frame] = error
                return None
            place.unreadable.pop(frame, None)
            self._read_last = frame
            return Sight(frame, pixels, place.scaling.image(pixels))
