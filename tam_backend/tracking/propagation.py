"""Which frames are tracked, in which direction, and from which keyframes.

Objects may be prompted first on different frames. Let f be the first of all keyframes. Then a propagation is

1. a backward pass from the last *first keyframe* of any object down to f, for the objects that join after f (the
   late ones); their masks wait in a spool on disk;
2. a forward pass from f to the end, in which each object joins at its first keyframe; every frame is yielded, completed
   with the late objects' spooled masks;
3. the backward pass of step 1 goes on from f down to the start, now with all objects.

A frame that is damaged is left out, and an object whose first keyframe is on one joins at its next.

A keyframe's mask is a human's: it is yielded as it is, memorised for good, and memorised one keyframe ahead, so that
the tracker knows what it is heading for.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing

from tam_backend.tracking.keyframes import Keyframes
from tam_backend.tracking.passes import Advance, Sight, TrackedMask, TrackerPass, Workplace
from tam_backend.tracking.spool import MaskSpool
from tam_backend.types import BoolMask, FrameResult, Mask


def propagate(
    workplace: Workplace, keyframes: Keyframes, start: int, stop: int
) -> Generator[FrameResult | None, None, None]:
    """Track every object of `keyframes` over frames [start, stop), lazily; see the module's text for the order.

    Keyframes outside the range count: tracking begins at them, and only frames of the range are yielded. Yields None
    after a frame that was tracked but has no result to show yet, so that a caller is never kept for long.

    Raises:
        MediaError: no object has a keyframe that can be read.
    """
    keyframes = _from_readable_ones(workplace, keyframes)
    first = {object_id: min(frames) for object_id, frames in keyframes.items()}
    earliest, latest = min(first.values()), max(first.values())
    backward = closing(_track(workplace, keyframes, range(latest, start - 1, -1)))
    forward = closing(_track(workplace, keyframes, range(earliest, stop)))
    with MaskSpool(workplace.scaling.original_hw) as spool, backward as going_back, forward as going_on:
        refined: set[tuple[int, int]] = set()
        if latest > start:
            for frame, tracked in going_back:
                if start <= frame < stop:
                    for object_id in (each for each in tracked if frame < first[each]):
                        spool.put(frame, object_id, tracked[object_id].mask)
                        if tracked[object_id].source == "refined":
                            refined.add((frame, object_id))
                yield None
                if frame <= max(earliest, start):
                    break
        for frame, tracked in going_on:
            late = {
                object_id: TrackedMask(mask, "refined" if (frame, object_id) in refined else "propagated")
                for object_id, mask in spool.take(frame).items()
            }
            yield disjoint(frame, late | tracked) if frame >= start else None
        if earliest > start:
            for frame, tracked in going_back:
                yield disjoint(frame, tracked) if frame < stop else None


def _from_readable_ones(workplace: Workplace, keyframes: Keyframes) -> Keyframes:
    """Return each object's keyframes from the first one that can be read on; an object without any is left out."""
    readable = {}
    for object_id, masks in keyframes.items():
        begin = next((frame for frame in sorted(masks) if workplace.can_read(frame)), None)
        if begin is not None:
            readable[object_id] = masks.since(begin)
    if not readable:
        raise next(iter(workplace.unreadable.values()))
    return readable


def disjoint(frame: int, tracked: Mapping[int, TrackedMask]) -> FrameResult:
    """Make masks disjoint: the better one keeps a disputed pixel; a human's mask keeps all."""
    taken: BoolMask | None = None
    masks: dict[int, BoolMask] = {}
    for object_id in sorted(tracked, key=lambda each: (tracked[each].source != "prompt", -tracked[each].mask.quality)):
        mask = tracked[object_id].mask.array
        if tracked[object_id].source != "prompt" and taken is not None:
            mask = mask & ~taken
        masks[object_id] = mask
        taken = mask if taken is None else taken | mask
    ids = sorted(tracked)
    return FrameResult(
        frame=frame,
        masks={object_id: masks[object_id] for object_id in ids},
        quality={object_id: tracked[object_id].mask.quality for object_id in ids},
        source={object_id: tracked[object_id].source for object_id in ids},
    )


def _track(
    workplace: Workplace, keyframes: Keyframes, frames: Sequence[int]
) -> Generator[tuple[int, dict[int, TrackedMask]], None, None]:
    """Go over `frames` in their order; objects join at their first keyframe (of all, not of `frames`)."""
    tracker = TrackerPass(workplace)
    memory = _KeyframeMemory(tracker, keyframes)

    def advance(sight: Sight) -> Advance:
        frame = sight.index
        given = {
            object_id: masks[frame]
            for object_id, masks in keyframes.items()
            if frame in masks and (object_id in tracker.object_ids or frame == min(masks))
        }
        permanent = memory.is_new(frame, given)
        step = tracker.advance(sight, given, permanent=permanent, last=frame == frames[-1])
        memory.look_ahead(frame, given)
        return step

    with closing(tracker.lead(frames, advance)) as coming:
        yield from coming


class _KeyframeMemory:
    """Sees to it that the tracker memorises each object's neighbouring keyframes, each of them once."""

    def __init__(self, tracker: TrackerPass, keyframes: Keyframes) -> None:
        self._tracker = tracker
        self._keyframes = keyframes
        self._memorised: set[tuple[int, int]] = set()

    def is_new(self, frame: int, given: Mapping[int, Mask]) -> bool:
        """Tell whether a keyframe holds anything not memorised before; from now on it does not."""
        new = {(object_id, frame) for object_id in given} - self._memorised
        self._memorised |= new
        return bool(new)

    def look_ahead(self, frame: int, given: Mapping[int, Mask]) -> None:
        """Memorise, for each object given on this frame, its next later keyframe.

        Going forward that is where the pass is heading. Going backward an object joins at its first keyframe and meets
        no other, so it is what lies behind.
        """
        ahead: dict[int, dict[int, BoolMask]] = {}
        for object_id in given:
            later = [each for each in self._keyframes[object_id] if each > frame]
            if later and (object_id, min(later)) not in self._memorised:
                ahead.setdefault(min(later), {})[object_id] = self._keyframes[object_id][min(later)].array
        for keyframe, masks in ahead.items():
            self._tracker.memorise(keyframe, masks)
            self._memorised |= {(object_id, keyframe) for object_id in masks}
