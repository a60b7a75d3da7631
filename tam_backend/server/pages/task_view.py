"""A stored session as its page shows it: which frames to draw, the curves of quality, and where to look next."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tam_backend.export import object_colour
from tam_backend.labelstudio.scores import DOUBTFUL, task_score, worst_by_frame
from tam_backend.session.suggestions import Suggestion, suggestions
from tam_backend.store.sessions import SessionView

STRIP_FRAMES = 24
SUGGESTED = 5
_FINE = 0.85
_POINTS = 480  # of a curve: one for every two pixels
_COLUMNS = 120  # that can be clicked
_MARK = 14  # a keyframe's width


@dataclass(frozen=True)
class Plane:
    """The plane of the chart in units of its SVG: (left, top) to (right, bottom) is the plot."""

    width: int = 960
    height: int = 250
    left: int = 40
    right: int = 944
    top: int = 36
    bottom: int = 216

    def x(self, place: float) -> float:
        """Return where a place 0..1 of the video lies."""
        return round(self.left + place * (self.right - self.left), 1)

    def y(self, quality: float) -> float:
        """Return where a quality 0..1 lies."""
        return round(self.bottom - quality * (self.bottom - self.top), 1)


PLANE = Plane()


@dataclass(frozen=True)
class Picture:
    """A frame that is shown.

    Args:
        frame: 0-based.
        version: changes with its masks.
        quality: of its worst mask, those that a human settled left out; None without any.
        level: "good", "fair" or "poor"; "" without quality.
        is_keyframe: a human settled a mask there.
        rank: 1 = the frame to look at first; None = not suggested.
        why: of a suggested one.
    """

    frame: int
    version: str
    quality: float | None
    level: str
    is_keyframe: bool
    rank: int | None = None
    why: str = ""


@dataclass(frozen=True)
class Curve:
    """One object's quality over the frames.

    Args:
        object_id, label, colour: the object's; the colour as #rrggbb.
        lines: the points of an SVG polyline each; between them the object is absent or was not tracked.
        keyframes: (frame, x) of what a human settled; where several objects are, their marks stand side by side.
        mean, lowest: quality of its tracked masks; None without any.
        lowest_frame: where it is lowest.
        frames: on how many it was found; `absent` on so many it was not.
    """

    object_id: int
    label: str
    colour: str
    lines: tuple[str, ...]
    keyframes: tuple[tuple[int, float], ...]
    mean: float | None
    lowest: float | None
    lowest_frame: int | None
    frames: int
    absent: int


@dataclass(frozen=True)
class Column:
    """A part of the chart that can be clicked: x and width in its units, the frame it leads to, what it tells."""

    x: float
    width: float
    frame: int
    text: str


@dataclass(frozen=True)
class TaskView:
    """All that the page draws.

    Args:
        strip: frames from the whole video.
        suggested: where to look, most helpful first.
        curves: one for each object.
        columns: of the chart, where there are masks.
        ticks: (x, frame) below the chart.
        score: the task's; None before anything was tracked.
        doubtful: how many frames need a review.
        plane: of the chart.
    """

    strip: tuple[Picture, ...]
    suggested: tuple[Picture, ...]
    curves: tuple[Curve, ...]
    columns: tuple[Column, ...]
    ticks: tuple[tuple[float, int], ...]
    score: float | None
    doubtful: int
    plane: Plane = PLANE


def task_view(view: SessionView) -> TaskView:
    """Lay out a session."""
    seen = {
        object_id: {frame: value for frame, value in track.items() if frame not in view.absent.get(object_id, ())}
        for object_id, track in view.quality.items()
    }
    tracked = {
        object_id: {frame: value for frame, value in track.items() if view.source[object_id][frame] != "prompt"}
        for object_id, track in seen.items()
    }
    # Where an object was not found, a look tells most if it is there after all.
    chosen = suggestions(view.quality, view.keyframes, SUGGESTED)
    ranks = {each.frame: rank for rank, each in enumerate(chosen, start=1)}
    keyframes = {frame for frames in view.keyframes.values() for frame in frames}
    worst = worst_by_frame((frame, value) for track in tracked.values() for frame, value in track.items())
    frames = sorted({frame for track in view.quality.values() for frame in track})

    def picture(frame: int, why: str = "") -> Picture:
        quality = worst.get(frame)
        return Picture(
            frame, _version(view, frame), quality, _level(quality), frame in keyframes, ranks.get(frame), why
        )

    count = view.summary.frames
    return TaskView(
        strip=tuple(picture(frame) for frame in _strip(frames, list(ranks), sorted(keyframes & set(frames)))),
        suggested=tuple(picture(each.frame, _why(each, view)) for each in chosen),
        curves=tuple(_curve(view, object_id, seen, tracked) for object_id in sorted(seen)),
        columns=tuple(_columns(view, count)),
        ticks=tuple((PLANE.x(_place(frame, count)), frame) for frame in _evenly(range(count), 9)),
        score=task_score(worst.values()),
        doubtful=sum(value < DOUBTFUL for value in worst.values()),
    )


def _version(view: SessionView, frame: int) -> str:
    """Name what is drawn on a frame: a mask that changes without its quality doing so is as good as impossible."""
    state = [
        (object_id, track[frame], view.source[object_id][frame], view.summary.labels.get(object_id))
        for object_id, track in view.quality.items()
        if frame in track
    ]
    return hashlib.blake2b(repr(state).encode(), digest_size=6).hexdigest()


def _name(view: SessionView, object_id: int) -> str:
    return view.summary.labels.get(object_id) or f"object {object_id}"


def _level(quality: float | None) -> str:
    if quality is None:
        return ""
    return "good" if quality >= _FINE else "fair" if quality >= DOUBTFUL else "poor"


def _why(suggestion: Suggestion, view: SessionView) -> str:
    label = _name(view, suggestion.object_id)
    if suggestion.frame in view.absent.get(suggestion.object_id, ()):
        label += " not found"
    keyframes = view.keyframes.get(suggestion.object_id, ())
    if not keyframes:
        return label
    distance = min(abs(suggestion.frame - frame) for frame in keyframes)
    return f"{label}, {distance} frame{'s' if distance > 1 else ''} from the nearest keyframe"


def _strip(frames: Sequence[int], suggested: Collection[int], keyframes: Sequence[int]) -> list[int]:
    """Choose frames evenly; what is marked is among them, keyframes thinned where they are many."""
    marked = {*suggested, *_evenly(keyframes, STRIP_FRAMES // 3)}
    others = [frame for frame in frames if frame not in marked]
    return sorted({*marked, *_evenly(others, STRIP_FRAMES - len(marked))})


def _evenly(items: Sequence[int], count: int) -> list[int]:
    if len(items) <= count:
        return list(items)
    return [items[place] for place in np.linspace(0, len(items) - 1, count).round().astype(int).tolist()]


def _place(frame: float, count: int) -> float:
    return (frame + 0.5) / max(count, 1)


def _curve(
    view: SessionView,
    object_id: int,
    seen: dict[int, dict[int, float]],
    tracked: dict[int, dict[int, float]],
) -> Curve:
    count, track, judged = view.summary.frames, seen[object_id], tracked[object_id]
    step = max(1, -(-count // _POINTS))
    lowest: dict[int, float] = {}  # of each step: what is bad must stay visible in a long video
    for frame, value in judged.items():
        lowest[frame // step] = min(value, lowest.get(frame // step, 1.0))
    lines: list[list[str]] = [[]]
    # A keyframe does not interrupt the line: its quality is not in question.
    for part in range(-(-count // step)):
        if part in lowest:
            lines[-1].append(f"{PLANE.x(_place(part * step + (step - 1) / 2, count))},{PLANE.y(lowest[part])}")
        elif lines[-1] and not any(frame in track for frame in range(part * step, (part + 1) * step)):
            lines.append([])
    lowest_frame = min(judged, key=lambda frame: judged[frame], default=None)
    return Curve(
        object_id=object_id,
        label=_name(view, object_id),
        colour=object_colour(object_id),
        # A line of one point would not be seen.
        lines=tuple(" ".join(points if len(points) > 1 else points * 2) for points in lines if points),
        keyframes=tuple((frame, _keyframe_x(view, object_id, frame)) for frame in view.keyframes.get(object_id, ())),
        mean=sum(judged.values()) / len(judged) if judged else None,
        lowest=None if lowest_frame is None else judged[lowest_frame],
        lowest_frame=lowest_frame,
        frames=len(track),
        absent=len(view.absent.get(object_id, ())),
    )


def _keyframe_x(view: SessionView, object_id: int, frame: int) -> float:
    """Objects are often clicked on one frame: the mark of the last one would hide the others."""
    place = _place(frame, view.summary.frames)
    before = sum(other < object_id and frame in frames for other, frames in view.keyframes.items())
    return round(PLANE.x(place) + (before if place < 0.5 else -before) * _MARK, 1)


def _columns(view: SessionView, count: int) -> list[Column]:
    columns = []
    for part in range(min(count, _COLUMNS)):
        first, stop = part * count // min(count, _COLUMNS), (part + 1) * count // min(count, _COLUMNS)
        found = [
            (value, frame)
            for object_id, track in view.quality.items()
            for frame in range(first, stop)
            if (value := _doubt_at(view, object_id, track, frame)) is not None
        ]
        if not found:
            continue
        frame = min(found)[1]
        left, right = PLANE.x(first / count), PLANE.x(stop / count)
        columns.append(Column(left, round(right - left, 1), frame, _told(view, frame)))
    return columns


def _doubt_at(view: SessionView, object_id: int, track: Mapping[int, float], frame: int) -> float | None:
    """Return what to look for the worst frame by; where nothing is in question, any frame will do."""
    if frame not in track:
        return None
    settled = view.source[object_id][frame] == "prompt" or frame in view.absent.get(object_id, ())
    return 1.0 if settled else track[frame]


def _told(view: SessionView, frame: int) -> str:
    parts = []
    for object_id, track in sorted(view.quality.items()):
        if frame in track:
            is_absent = frame in view.absent.get(object_id, ())
            is_settled = view.source[object_id][frame] == "prompt"
            told = "absent" if is_absent else "settled" if is_settled else f"{track[frame]:.2f}"
            parts.append(f"{_name(view, object_id)} {told}")
    return f"Frame {frame}: {', '.join(parts)}"
