"""A propagation that was stopped goes on: the frames without a result are tracked, from the nearest that has one."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing

import numpy as np

from tam_backend.tracking.corrections import Absences
from tam_backend.tracking.keyframes import Keyframes
from tam_backend.tracking.passes import Advance, Sight, TrackedMask, TrackerPass, Workplace
from tam_backend.tracking.propagation import disjoint
from tam_backend.tracking.tracks import Tracks
from tam_backend.types import FrameResult, Mask


def stretches(frames: Sequence[int]) -> list[range]:
    """Return ascending frames as ranges without a gap.

    >>> stretches([0, 1, 2, 7, 8])
    [range(0, 3), range(7, 9)]
    """
    found: list[range] = []
    for frame in frames:
        if found and found[-1].stop == frame:
            found[-1] = range(found[-1].start, frame + 1)
        else:
            found.append(range(frame, frame + 1))
    return found


def go_on(
    workplace: Workplace, tracks: Tracks, keyframes: Keyframes, absences: Absences, missing: Sequence[int]
) -> Generator[FrameResult | None, None, None]:
    """Track `missing` frames, put them into `tracks`, and yield them as they come;
    None after a frame that was only entered from.

    Each stretch of them is entered from the tracked frame before it or, at the video's start, after it; damaged frames
    between are passed over. What was tracked there is ordinary memory, and the keyframes near it are kept for good.

    Args:
        workplace: networks and video.
        tracks: what was found before, not empty; changed in place.
        keyframes: object id -> frame -> a human's mask.
        absences: the ends.
        missing: ascending.
    """
    for stretch in stretches(missing):
        start = _entry(workplace, tracks, stretch)
        if start is None:
            continue
        forward = start < stretch.start
        frames = [start, *(stretch if forward else reversed(stretch))]
        with closing(_tracked(workplace, tracks, keyframes, frames)) as coming:
            for frame, masks in coming:
                if frame == start:
                    yield None
                    continue
                result = absences.observed(disjoint(frame, masks), keyframes)
                tracks.put(result)
                yield result


def _tracked(
    workplace: Workplace, tracks: Tracks, keyframes: Keyframes, frames: Sequence[int]
) -> Generator[tuple[int, dict[int, TrackedMask]], None, None]:
    """Track what is known of `frames[0]` over the others, and yield all objects' masks."""
    start = frames[0]
    tracker = TrackerPass(workplace)

    def advance(sight: Sight) -> Advance | None:
        frame = sight.index
        if frame != start:
            given = {each: masks[frame] for each, masks in keyframes.items() if frame in masks}
            return tracker.advance(sight, given, last=frame == frames[-1])
        # An object that came since has no track there, but may have its only keyframe there.
        said = {each: masks[start] for each, masks in keyframes.items() if start in masks}
        known = said | {
            each: Mask(mask, tracks[start].quality[each])
            for each, mask in tracks[start].masks.items()
            if each in keyframes and each not in said and mask.any()
        }
        if not known and not _ever_seen(keyframes):
            nothing = np.zeros(workplace.video.size_hw, np.bool_)
            known = {each: Mask(nothing, 1.0) for each in keyframes}  # networks must know of some object
        step = tracker.advance(sight, known, permanent=known.keys() == said.keys()) if known else None
        for object_id, masks in keyframes.items():
            tracker.memorise_nearest(object_id, masks, start)
        return step

    with closing(tracker.lead(frames, advance)) as coming:
        yield from coming


def _ever_seen(keyframes: Keyframes) -> bool:
    return any(mask.array.any() for masks in keyframes.values() for mask in masks.values())


def _entry(workplace: Workplace, tracks: Tracks, stretch: range) -> int | None:
    """Return the frame to enter a stretch from; None where there is none, because all of them are damaged."""
    before = range(stretch.start - 1, -1, -1)
    after = range(stretch.stop, len(workplace.video))
    return next((frame for frame in (*before, *after) if frame in tracks and workplace.can_read(frame)), None)
