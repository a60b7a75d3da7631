"""After a human's correction: only what it can influence is tracked anew, the rest stays bit for bit.

For every object with changed keyframes, each gap between two keyframes (spans.py) is tracked from the changed one, and
what comes is fused with what comes from the other (fusion.py): the masks that are there, if that keyframe is as it
was, else a second pass. That first is not only half the work: a pass that is shown a far keyframe before it gets there
was found to be worse than one that is not. A gap with one keyframe is tracked from there to the video's end or start.
The other objects take part in the competition for pixels, from their masks at the start of the pass, but keep what they
had, except for pixels that the corrected object takes.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np

from tam_backend.tracking.fusion import fused
from tam_backend.tracking.keyframes import Keyframes, ObjectKeyframes
from tam_backend.tracking.passes import Advance, Sight, TrackedMask, TrackerPass, Workplace
from tam_backend.tracking.spans import Gap, gaps_around
from tam_backend.tracking.spool import MaskSpool
from tam_backend.tracking.tracks import Tracks
from tam_backend.types import FrameResult, Mask, Source

# Other objects that take part, the nearest: each costs as much as the one that was corrected.
_COMPETITORS = 4


@dataclass(frozen=True)
class Absences:
    """Where objects were said to be gone: object id -> frames from which on, until its next keyframe with a mask."""

    ends: Mapping[int, Collection[int]]

    def ends_at(self, object_id: int, frame: int | None) -> bool:
        """Whether the object was said to end there."""
        return frame is not None and frame in self.ends.get(object_id, ())

    def observed(self, result: FrameResult, keyframes: Keyframes) -> FrameResult:
        """Return a result in which objects that have ended have an empty mask, which is certain."""
        gone = {
            each
            for each in result.masks.keys() & self.ends.keys()
            if self.ends_at(each, max((at for at in keyframes[each] if at <= result.frame), default=None))
        }
        if not gone:
            return result
        return replace(
            result,
            masks={each: np.zeros_like(mask) if each in gone else mask for each, mask in result.masks.items()},
            quality={each: 1.0 if each in gone else quality for each, quality in result.quality.items()},
        )


def retrack(
    workplace: Workplace,
    tracks: Tracks,
    keyframes: Keyframes,
    absences: Absences,
    changed: Mapping[int, Collection[int]],
) -> Generator[FrameResult | None, None, None]:
    """Track anew what changed keyframes can influence, put it into `tracks`, and yield it as it comes.

    Yields the whole result of a frame, all objects; a frame comes once for each object that was corrected near it.
    Yields None after a frame that was tracked but has no result yet.

    Args:
        workplace: networks and video.
        tracks: what was found before; changed in place.
        keyframes: after the change; an empty mask says that the object cannot be seen on that frame.
        absences: the ends.
        changed: object id -> frames where keyframes were added, changed or taken away.
    """
    for object_id, frames in changed.items():
        own = keyframes.get(object_id, ObjectKeyframes({}))
        for frame in sorted(set(frames) & own.keys()):
            yield _settled(tracks, frame, object_id, own[frame], "prompt", keyframes)
    for object_id, frames in changed.items():
        for gap in gaps_around(keyframes.get(object_id, {}), frames, len(workplace.video)):
            settled = {each for each in (gap.left, gap.right) if each is not None and each not in frames}
            with closing(_gap(workplace, tracks, keyframes, absences, object_id, gap, settled)) as masks:
                for found in masks:
                    if found is None:
                        yield None
                    else:
                        frame, tracked = found
                        yield _settled(tracks, frame, object_id, tracked.mask, tracked.source, keyframes)


def _gap(
    place: Workplace,
    tracks: Tracks,
    keyframes: Keyframes,
    absences: Absences,
    object_id: int,
    gap: Gap,
    settled: Collection[int],
) -> Generator[tuple[int, TrackedMask] | None, None, None]:
    """Yield the object's mask on every frame of a gap, and None where a frame took time but gave none yet.

    `settled` keyframes are as they were when the gap's present masks were made.
    """
    own = keyframes[object_id]
    before = _seen_before(own, absences, object_id, gap.left)
    after = gap.right if gap.right is not None and own.shows(gap.right) else None
    if absences.ends_at(object_id, gap.left) or (before is None and after is None):
        gone = TrackedMask(Mask(np.zeros(place.video.size_hw, np.bool_), 1.0), "propagated")
        yield from ((frame, gone) for frame in gap.frames)
        return
    tracked = [at for at in gap.frames if at not in place.unreadable]
    held = before is not None and after is not None and all(tracks.kept(at, object_id) for at in tracked)
    passes = [
        [anchor, *frames]
        for anchor, frames in ((before, range((before or 0) + 1, gap.frames.stop)), (after, reversed(gap.frames)))
        if anchor is not None and not (held and anchor in settled)
    ]
    with MaskSpool(place.video.size_hw) as spool:
        for number, frames in enumerate(passes):
            with closing(_led(place, tracks, keyframes, object_id, frames)) as coming:
                for frame, found in coming:
                    mask = found.mask
                    if frame not in gap.frames:
                        yield None
                        continue
                    if number + 1 < len(passes):
                        spool.put(frame, object_id, mask)
                        yield None
                        continue
                    other = spool.take(frame).get(object_id)
                    if other is None and held and (kept := tracks.kept(frame, object_id)) is not None:
                        other = kept.decoded
                    if other is None or before is None:
                        yield frame, found
                        continue
                    position = (frame - before) / (gap.frames.stop - before)
                    backward = frames[0] == after
                    both = fused(other, mask, position) if backward else fused(mask, other, position)
                    yield frame, TrackedMask(both, "propagated")


def _seen_before(own: ObjectKeyframes, absences: Absences, object_id: int, left: int | None) -> int | None:
    """Return the last keyframe up to `left` on which the object can be seen, if it was not said to end since."""
    if left is None:
        return None
    for frame in sorted((each for each in own if each <= left), reverse=True):
        if absences.ends_at(object_id, frame):
            return None
        if own.shows(frame):
            return frame
    return None


def _led(
    place: Workplace, tracks: Tracks, keyframes: Keyframes, object_id: int, frames: list[int]
) -> Generator[tuple[int, TrackedMask], None, None]:
    """Lead a tracker from the keyframe `frames[0]` on, and yield the object's mask on the frames after it.

    From a damaged keyframe nothing can be tracked: the frames keep what they had.
    """
    own = keyframes[object_id]
    start = frames[0]
    if not place.can_read(start):
        return
    tracker = TrackerPass(place, refined=(object_id,))

    def advance(sight: Sight) -> Advance:
        frame = sight.index
        last = frame == frames[-1]
        if frame == start:
            mask = own[start]
            step = tracker.advance(sight, {**_competitors(tracks, start, object_id, mask), object_id: mask}, last=last)
            tracker.memorise_nearest(object_id, own, start)
            return step
        given = {each: masks[frame] for each, masks in keyframes.items() if frame in masks}
        return tracker.advance(sight, given, last=last)

    with closing(tracker.lead(frames, advance)) as coming:
        for frame, found in coming:
            if frame != start:
                yield frame, found[object_id]


def _competitors(tracks: Tracks, frame: int, object_id: int, mask: Mask) -> dict[int, Mask]:
    """Return the masks of the nearest other objects on a frame, without the pixels of the object's own."""
    if frame not in tracks:
        return {}
    centre = _centre(mask)
    others = {
        each: Mask(array & ~mask.array, tracks[frame].quality[each])
        for each, array in tracks[frame].masks.items()
        if each != object_id
    }
    there = {each: other for each, other in others.items() if other.array.any()}
    nearest = sorted(there, key=lambda each: float(np.hypot(*(_centre(there[each]) - centre))))
    return {each: there[each] for each in nearest[:_COMPETITORS]}


def _centre(mask: Mask) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the mean (y, x) of a mask that is not empty."""
    return np.array([axis.mean() for axis in np.nonzero(mask.array)])


def _settled(
    tracks: Tracks, frame: int, object_id: int, mask: Mask, source: Source, keyframes: Keyframes
) -> FrameResult:
    """Put one object's new mask into a frame's result, and keep and return that.

    A human's masks of the other objects keep all their pixels; tracked ones give way.
    """
    old = tracks[frame] if frame in tracks else FrameResult(frame, {}, {}, {})
    array = mask.array
    if source != "prompt":
        for each, masks in keyframes.items():
            if each != object_id and frame in masks:
                array = array & ~masks[frame].array
    masks_now = {
        each: other if each == object_id or old.source[each] == "prompt" else other & ~array
        for each, other in old.masks.items()
    }
    masks_now[object_id] = array
    ids = sorted(masks_now)
    result = FrameResult(
        frame=frame,
        masks={each: masks_now[each] for each in ids},
        quality={each: mask.quality if each == object_id else old.quality[each] for each in ids},
        source={each: source if each == object_id else old.source[each] for each in ids},
    )
    tracks.put(result)
    return result
