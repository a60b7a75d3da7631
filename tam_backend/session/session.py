"""One video being worked on: its objects, their prompts and keyframes, and what follows from them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from types import TracebackType

import cv2
import numpy as np
import torch

from tam_backend.errors import (
    EmptyVideoError,
    FrameOutOfRangeError,
    InvalidInputError,
    InvalidPromptError,
    MediaError,
)
from tam_backend.models.protocols import FrameEmbedding, Models, SegmenterPrompts
from tam_backend.session.suggestions import Suggestion, suggestions
from tam_backend.store.known import Known, check_frame, check_prompt, check_size
from tam_backend.store.sessions import ObjectState, StoredSession
from tam_backend.threads.fair_lock import FairLock
from tam_backend.tracking.continuation import go_on
from tam_backend.tracking.corrections import Absences, retrack
from tam_backend.tracking.keyframes import Keyframes, ObjectKeyframes
from tam_backend.tracking.passes import Workplace
from tam_backend.tracking.propagation import propagate
from tam_backend.tracking.scaling import Scaling
from tam_backend.tracking.spans import gaps_around
from tam_backend.tracking.stopwatch import Stopwatch
from tam_backend.tracking.tracks import KeptMask, Tracks
from tam_backend.types import BoolMask, EncodedMask, FrameResult, Mask, Prompt, Timing, VideoSource

# Encoded frames kept for further clicks; people click on one frame at a time.
EMBEDDINGS_KEPT = 2
# A mask prompt that is only a hint enters the segmenter as logits of this size: sigmoid(4) = 0.98.
HINT_LOGIT = 4.0


@dataclass(eq=False)
class _TrackedObject:
    label: str
    known: dict[int, Known] = field(default_factory=dict)
    keyframes: dict[int, KeptMask] = field(default_factory=dict)
    ends: set[int] = field(default_factory=set)
    changed: set[int] = field(default_factory=set)  # since it was last tracked

    @classmethod
    def of(cls, state: ObjectState) -> _TrackedObject:
        """Take up what was kept."""
        return cls(state.label, dict(state.known), dict(state.keyframes), set(state.ends), set(state.changed))

    @property
    def state(self) -> ObjectState:
        """What is to be kept."""
        return ObjectState(self.label, self.known, self.keyframes, frozenset(self.ends), frozenset(self.changed))


class Session:
    """The state of one video: prompts in, masks out. Made by `TrackAnything.session`; used by one thread at a time.

    A frame with a prompt is a keyframe. Prompts for the same object on the same frame add up: points are collected, a
    new box or mask replaces the earlier one.

    Once a video was propagated, any frame may be corrected, in any order and by any prompt; `update` then tracks anew
    only what the corrections can influence.

    Args:
        models: a profile's networks.
        lock: of their device.
        video: what is worked on.
        stored: where the session was kept, and goes on being kept; closed with it. None: it ends with the process.
    """

    def __init__(self, models: Models, lock: FairLock, video: VideoSource, stored: StoredSession | None = None) -> None:
        if len(video) == 0:
            raise EmptyVideoError(f"{video.name} has no frame.", "Give a video or a folder with at least one image.")
        self._models = models
        self._lock = lock
        self._video = video
        self._stopwatch = Stopwatch(models.device)
        self._stored = stored
        self._objects: dict[int, _TrackedObject] = {}
        self._tracks = Tracks()
        if stored is not None:
            self._objects = {each: _TrackedObject.of(state) for each, state in stored.objects().items()}
            self._tracks = Tracks(stored.tracks(), stored)
        self._embeddings: OrderedDict[int, FrameEmbedding] = OrderedDict()
        self._unreadable: dict[int, MediaError] = {}

    @property
    def video(self) -> VideoSource:
        """The video of this session."""
        return self._video

    @property
    def labels(self) -> Mapping[int, str]:
        """Object id -> label, in the order of the ids; "" where none was given."""
        return {object_id: self._objects[object_id].label for object_id in sorted(self._objects)}

    @property
    def timing(self) -> Timing:
        """Where the seconds went so far."""
        return self._stopwatch.read()

    @property
    def tracks(self) -> Tracks:
        """All that was found so far; not to be changed."""
        return self._tracks

    def keyframes(self, object_id: int) -> Mapping[int, Mask]:
        """Return frame -> mask of the frames where a human prompted this object; each is decoded when it is read.

        Raises:
            InvalidInputError: there is no such object.
        """
        return ObjectKeyframes(self._object(object_id).keyframes)

    @property
    def is_current(self) -> bool:
        """Whether what is held is what is stored; not where somebody else has worked on the session since."""
        return self._stored is None or self._stored.is_current

    @property
    def unreadable(self) -> Mapping[int, MediaError]:
        """Frame -> what is wrong with it, of the damaged frames that were met; they are left out."""
        return dict(sorted(self._unreadable.items()))

    def look_again(self) -> None:
        """Count damaged frames among the outstanding ones again: somebody may have repaired them."""
        self._unreadable.clear()

    def leave_out(self, frame: int, error: MediaError) -> None:
        """Take note that a frame is damaged."""
        self._unreadable[frame] = error

    @property
    def outstanding(self) -> frozenset[int]:
        """The frames that `update` would track: those without a result, and those that changed keyframes can reach.

        Damaged frames do not count; `update` tries them, too, when there is anything to do.
        """
        total = len(self._video)
        left = {frame for frame in range(total) if frame not in self._tracks}
        for each in self._objects.values():
            for gap in gaps_around(each.keyframes, each.changed, total):
                left.update(gap.frames)
            left.update(each.changed)
        return frozenset(left - self._unreadable.keys())

    def known(self, object_id: int) -> Mapping[int, Known]:
        """Return frame -> what a human said of this object there, masks encoded.

        Raises:
            InvalidInputError: there is no such object.
        """
        return dict(self._object(object_id).known)

    def prompt(self, prompt: Prompt) -> Mask:
        """Take a human's word on one object and frame, and answer with the mask it makes.

        A mask alone is taken as it is; points and boxes, and a mask beside them as a hint, go to the segmenter. Clicks
        on a frame that was tracked correct the tracked mask, if they are near it: it is the hint then.

        Raises:
            FrameOutOfRangeError: the video has no such frame.
            PromptOffFrameError: a point or the whole box lies outside the frame.
            InvalidPromptError: a mask of another size than the frame's, or only negative points.
        """
        check_prompt(prompt, self._video)
        tracked = self._objects.get(prompt.object_id) or _TrackedObject(label="")
        before = tracked.known.get(prompt.frame) or Known(hint=self._tracked_hint(prompt))
        return self._settle(prompt.object_id, prompt.frame, before.plus(prompt), prompt.label)

    def replace(self, prompts: Sequence[Prompt]) -> Mask:
        """Take prompts in place of all that was said of their object on their frame; return the mask they make.

        What was tracked there is no hint to them: the same prompts always make the same mask.

        Raises:
            InvalidPromptError: none, or of several objects or frames; and what `prompt` raises.
        """
        if len({(prompt.object_id, prompt.frame) for prompt in prompts}) != 1:
            raise InvalidPromptError("Prompts to replace others must be of one object and one frame.")
        known, label = Known(), None
        for prompt in prompts:
            check_prompt(prompt, self._video)
            known, label = known.plus(prompt), label if prompt.label is None else prompt.label
        return self._settle(prompts[0].object_id, prompts[0].frame, known, label)

    def _settle(
        self, object_id: int, frame: int, known: Known, label: str | None = None, *, is_end: bool = False
    ) -> Mask:
        """Make the keyframe that is known now; prompts that failed leave no trace."""
        if known.mask is not None and known.is_mask_alone:
            encoded, mask = known.mask, Mask(known.mask.array, 1.0)
        else:
            mask = self._segment(frame, known)
            encoded = EncodedMask.of(mask.array)
        tracked = _TrackedObject.of(self._objects[object_id].state if object_id in self._objects else ObjectState(""))
        tracked.known[frame] = known
        tracked.keyframes[frame] = KeptMask(encoded, mask.quality, "prompt")
        tracked.ends.discard(frame)
        if is_end:
            tracked.ends.add(frame)
        tracked.changed.add(frame)
        if label is not None:
            tracked.label = label
        self._keep(object_id, tracked, frame)
        return mask

    def paint(self, object_id: int, frame: int, add: BoolMask | None = None, erase: BoolMask | None = None) -> Mask:
        """Change the mask that the object has on a frame by brush strokes; the outcome is a human's mask.

        Args:
            object_id: an object of this session.
            frame: any frame; one without a mask is painted from nothing.
            add: (H, W) pixels that belong to it.
            erase: (H, W) pixels that do not; they win over `add`. Erasing all of it says that the object cannot be
                seen on this frame.

        Raises:
            InvalidInputError: no such object, or no stroke.
            FrameOutOfRangeError, InvalidPromptError: no such frame, strokes of another size.
        """
        tracked = self._object(object_id)
        check_frame(frame, self._video)
        for stroke in (add, erase):
            if stroke is not None:
                check_size(np.shape(stroke), self._video)
        if add is None and erase is None:
            raise InvalidInputError("There is no stroke to paint.", "Give pixels to add or to erase.")
        held = tracked.keyframes.get(frame) or self._tracks.kept(frame, object_id)
        mask = np.zeros(self._video.size_hw, np.bool_) if held is None else held.encoded.array
        mask |= False if add is None else np.asarray(add, np.bool_)
        mask &= True if erase is None else ~np.asarray(erase, np.bool_)
        return self.prompt(Prompt(object_id=object_id, frame=frame, mask=mask))

    def end(self, object_id: int, frame: int) -> None:
        """Say that an object is gone from this frame on, until the next frame on which a human shows it again.

        Raises:
            InvalidInputError: there is no such object.
            FrameOutOfRangeError: the video has no such frame.
        """
        self._object(object_id)
        check_frame(frame, self._video)
        nothing = EncodedMask.of(np.zeros(self._video.size_hw, np.bool_))
        self._settle(object_id, frame, Known(mask=nothing), is_end=True)

    def rename(self, object_id: int, label: str) -> None:
        """Give an object another label; no mask changes.

        Raises:
            InvalidInputError: there is no such object.
        """
        self._keep(object_id, replace(self._object(object_id), label=label))

    def split(self, object_id: int, frame: int, mask: BoolMask, label: str | None = None) -> int:
        """Make part of an object's mask on a frame an object of its own.

        Args:
            object_id: the object that has pixels too many.
            frame: where.
            mask: (H, W) the pixels that are another object.
            label: the new object's; None: the same.

        Returns:
            The new object's id.

        Raises:
            InvalidInputError: no such object.
            FrameOutOfRangeError, InvalidPromptError: no such frame, a mask of another size.
        """
        parent = self._object(object_id)
        self.paint(object_id, frame, erase=mask)
        new_id = max(self._objects) + 1
        self.prompt(Prompt(object_id=new_id, frame=frame, mask=mask, label=parent.label if label is None else label))
        return new_id

    def clear(self, object_id: int, frame: int) -> None:
        """Take back all prompts of an object on a frame.

        Raises:
            InvalidInputError: there is no such object, or it has no prompt there.
        """
        tracked = _TrackedObject.of(self._object(object_id).state)
        if frame not in tracked.known:
            raise InvalidInputError(f"Object {object_id} has no prompt on frame {frame}.")
        del tracked.known[frame], tracked.keyframes[frame]
        tracked.ends.discard(frame)
        tracked.changed.add(frame)
        self._keep(object_id, tracked, frame)

    def remove(self, object_id: int) -> None:
        """Forget an object and all its prompts.

        Raises:
            InvalidInputError: there is no such object.
        """
        self._object(object_id)
        self._tracks.forget(object_id)
        del self._objects[object_id]

    def propagate(self, start: int = 0, stop: int | None = None, refine: bool | None = None) -> Iterator[FrameResult]:
        """Track all objects over frames [start, stop), yielding one result per frame as soon as it is known.

        Frames come from the first keyframe to the end, then from the first keyframe back to the start. Damaged frames
        are left out (`unreadable`). Closing the iterator cancels. The prompts at the time of the call count; later ones
        need a new call.

        Args:
            start: first frame.
            stop: one past the last frame; None = the video's end.
            refine: whether the segmenter refines doubtful masks; None: as the networks were loaded.

        Raises:
            InvalidInputError: nothing was prompted yet.
            FrameOutOfRangeError: the range holds no frame of the video.
        """
        steps = self.propagate_stepwise(start, stop, refine)
        return _results(steps)

    def propagate_stepwise(
        self, start: int = 0, stop: int | None = None, refine: bool | None = None
    ) -> Generator[FrameResult | None, None, None]:
        """Like `propagate`, but yield after every frame that is tracked: None where its result is not known yet.

        For callers that must look at a clock, or at a cancel button, between any two frames.
        """
        frames = len(self._video)
        end = frames if stop is None else min(stop, frames)
        if start < 0 or start >= end:
            raise FrameOutOfRangeError(
                f"Frames {start}:{'' if stop is None else stop} hold no frame of {self._video.name}.",
                f"It has frames 0 to {frames - 1}.",
            )
        keyframes = self._settled_keyframes()
        if not keyframes:
            raise InvalidInputError("There is nothing to propagate.", "Prompt at least one object first.")
        return self._propagated(self._workplace(refine), keyframes, start, end)

    def update(self, refine: bool | None = None) -> Iterator[FrameResult]:
        """Track anew what the prompts since the last propagation or update can influence, and nothing else.

        An object's correction reaches up to its nearest keyframes on both sides. Yields the whole result of every frame
        that was tracked anew, a frame once for each corrected object; all others stay bit for bit (`tracks`). A
        propagation that did not reach the end goes on where it stopped.

        Args:
            refine: as for `propagate`.

        Raises:
            InvalidInputError: nothing was prompted yet.
        """
        return _results(self.update_stepwise(refine))

    def update_stepwise(self, refine: bool | None = None) -> Generator[FrameResult | None, None, None]:
        """Like `update`, but yield after every frame that is tracked: None where its result is not known yet."""
        missing = [frame for frame in range(len(self._video)) if frame not in self._tracks]
        if len(missing) == len(self._video):
            return self.propagate_stepwise(refine=refine)
        return self._updated(self._workplace(refine), missing)

    def suggest(self, count: int = 5) -> list[Suggestion]:
        """Name the frames whose correction is likely to help most, best first; fewer where nothing else is in doubt."""
        return suggestions(
            {object_id: self._tracks.qualities(object_id) for object_id in self._objects},
            {object_id: each.keyframes.keys() for object_id, each in self._objects.items()},
            count,
        )

    def _propagated(
        self, place: Workplace, keyframes: Keyframes, start: int, stop: int
    ) -> Generator[FrameResult | None, None, None]:
        """Propagate, keeping the results; an object has no mask on frames beyond its end."""
        changed = {object_id: set(each.changed) for object_id, each in self._objects.items()}
        absences = self._absences()
        if len(self._tracks) == 0:
            # From here on it is the frames without a result that tell what is left to do, whenever this is stopped.
            self._now_tracked(changed)
        running = propagate(place, keyframes, start, stop)
        with self._stored_at_the_end(), closing(running) as steps:
            for step in steps:
                result = None if step is None else absences.observed(step, keyframes)
                if result is not None:
                    self._tracks.put(result)
                yield result
        if self._unreadable.keys() >= set(range(start, stop)):
            raise self._unreadable[start]
        if (start, stop) == (0, len(self._video)):
            self._now_tracked(changed)

    def _updated(self, place: Workplace, missing: Sequence[int]) -> Generator[FrameResult | None, None, None]:
        changed = {object_id: set(each.changed) for object_id, each in self._objects.items() if each.changed}
        keyframes = self._settled_keyframes()
        absences = self._absences()
        with self._stored_at_the_end():
            if missing and keyframes:
                with closing(go_on(place, self._tracks, keyframes, absences, missing)) as results:
                    yield from results
            with closing(retrack(place, self._tracks, keyframes, absences, changed)) as steps:
                yield from steps
        self._now_tracked(changed)

    def _absences(self) -> Absences:
        return Absences({object_id: frozenset(each.ends) for object_id, each in self._objects.items()})

    def _now_tracked(self, changed: Mapping[int, set[int]]) -> None:
        left = {each: self._objects[each].changed - changed[each] for each in changed.keys() & self._objects.keys()}
        if self._stored is not None:
            self._stored.save_changes({each: frozenset(frames) for each, frames in left.items()})
        for object_id, frames in left.items():
            self._objects[object_id].changed = frames

    def _keep(self, object_id: int, tracked: _TrackedObject, *frames: int) -> None:
        """Take an object that differs on these frames; stored first, so that a full disk leaves all as it was."""
        if self._stored is not None:
            self._stored.save_object(object_id, tracked.state, frames)
        self._objects[object_id] = tracked

    @contextmanager
    def _stored_at_the_end(self) -> Iterator[None]:
        """Write the masks that wait, however a propagation ends: cancelled, or by a frame that cannot be decoded."""
        try:
            yield
        finally:
            if self._stored is not None:
                self._stored.flush()

    def _workplace(self, refine: bool | None) -> Workplace:
        return Workplace(
            models=self._models,
            lock=self._lock,
            video=self._video,
            scaling=Scaling(self._video.size_hw, self._models.tracker_side, self._models.device),
            stopwatch=self._stopwatch,
            refine=self._models.refines if refine is None else refine,
            unreadable=self._unreadable,
        )

    def close(self) -> None:
        """Forget everything held for the video. The video itself belongs to the caller and stays open.

        A stored session stays stored, and may be opened again from then on.

        Raises:
            BusyError, StoreError: the masks tracked last could not be stored.
        """
        self._embeddings.clear()
        self._objects.clear()
        self._tracks.clear()
        if self._stored is not None:
            stored, self._stored = self._stored, None
            stored.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _settled_keyframes(self) -> Keyframes:
        """Return object id -> frame -> mask, disjoint on each frame where the segmenter made them.

        A mask that a human gave whole keeps every pixel; of the others the better one keeps a disputed pixel. Only
        masks that lose pixels are decoded.
        """
        settled = {object_id: dict(each.keyframes) for object_id, each in self._objects.items() if each.keyframes}
        for frame in {frame for masks in settled.values() for frame in masks}:
            here = [object_id for object_id, masks in settled.items() if frame in masks]
            given = [each for each in here if self._objects[each].known[frame].is_mask_alone]
            made = sorted((each for each in here if each not in given), key=lambda each: -settled[each][frame].quality)
            taken = [settled[object_id][frame].encoded for object_id in given]
            for object_id in made:
                mask = settled[object_id][frame]
                left = mask.encoded
                for other in taken:
                    if left.overlaps(other):
                        left = EncodedMask.of(left.array & ~other.array)
                settled[object_id][frame] = replace(mask, encoded=left)
                taken.append(mask.encoded)
        return {object_id: ObjectKeyframes(masks) for object_id, masks in settled.items()}

    def _object(self, object_id: int) -> _TrackedObject:
        if object_id not in self._objects:
            known = ", ".join(map(str, sorted(self._objects))) or "none"
            raise InvalidInputError(f"There is no object {object_id}.", f"Known objects: {known}.")
        return self._objects[object_id]

    def _tracked_hint(self, prompt: Prompt) -> EncodedMask | None:
        """Return the mask that clicks on a tracked frame correct; None where they mean something else."""
        held = self._tracks.kept(prompt.frame, prompt.object_id) if prompt.points and prompt.box is None else None
        if held is None or held.encoded.area == 0:
            return None
        mask = held.encoded.array
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        reach_y, reach_x = (rows[-1] - rows[0]) / 4, (columns[-1] - columns[0]) / 4
        near = all(
            rows[0] - reach_y <= y <= rows[-1] + reach_y and columns[0] - reach_x <= x <= columns[-1] + reach_x
            for x, y, positive in prompt.points
            if positive
        )
        return held.encoded if near else None

    def _segment(self, frame: int, known: Known) -> Mask:
        held = known.hint if known.mask is None else known.mask
        if known.box is None and held is None and not any(point.positive for point in known.points):
            raise InvalidPromptError(
                f"Only negative points were given on frame {frame}.",
                "Add a positive point on the object, a box, or a mask.",
            )
        points, box = known.within(self._video.size_hw)
        embedding = self._embedding(frame)
        hint = None
        if held is not None:
            small = cv2.resize(held.array.astype(np.float32), embedding.input_hw[::-1], interpolation=cv2.INTER_AREA)
            hint = torch.from_numpy((small * 2 - 1) * HINT_LOGIT)
        with self._lock, self._stopwatch.measure("segment"):
            answer = self._models.segmenter.segment(
                embedding, SegmenterPrompts(points=points, box=box, mask_logits=hint)
            )
        return Mask(answer.mask, answer.predicted_iou)

    def _embedding(self, frame: int) -> FrameEmbedding:
        if frame not in self._embeddings:
            with self._stopwatch.measure("decode"):
                pixels = self._video[frame]
            with self._lock, self._stopwatch.measure("segment"):
                self._embeddings[frame] = self._models.segmenter.encode(pixels)
            while len(self._embeddings) > EMBEDDINGS_KEPT:
                self._embeddings.popitem(last=False)
        self._embeddings.move_to_end(frame)
        return self._embeddings[frame]


def _results(steps: Generator[FrameResult | None, None, None]) -> Iterator[FrameResult]:
    with closing(steps):
        yield from (result for result in steps if result is not None)
