"""The curve of what videos took of people, one after the other, with the moments when other networks came to serve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from math import ceil

from tam_backend.effort.chart import INK, LINE, OWN, PAPER, SOFT, TURN, Bar, Chart, Text, legend
from tam_backend.effort.durations import duration
from tam_backend.effort.learning_curve import LEAST_VIDEOS, LearningCurve, Stage, WorkedVideo

BASE = "#7f8998"
_WIDTH, _LEFT, _TOP, _PLOT, _BELOW, _RIGHT = 1040, 64, 96, 150, 66, 16
# Rows of words above the columns, and what a letter of them takes.
_ROWS, _ROW, _LETTER = 3, 14, 6.2
_LONGEST_NAME = 12
# Of more columns the numbers would cover each other; still more would be thinner than a pixel.
_NUMBERED, _MOST = 40, 200


@dataclass(frozen=True)
class _Measure:
    """What columns are as high as: of a video, its median in a stage, and how it is written."""

    title: str
    of: Callable[[WorkedVideo], float | None]
    median: Callable[[Stage], float | None]
    say: Callable[[float], str]


_MEASURES = (
    _Measure(
        "Clicks and corrections, video by video",
        lambda video: video.clicks,
        lambda stage: stage.median_clicks,
        lambda clicks: f"{clicks:g}",
    ),
    _Measure("Working time, video by video", lambda video: video.seconds, lambda stage: stage.median_seconds, duration),
)


def learning_charts(curve: LearningCurve) -> list[Chart]:
    """Return a chart of clicks and one of working time of the last videos; each only if that is known of any."""
    shown = curve.newest(_MOST)
    return [
        _chart(shown, measure) for measure in _MEASURES if any(measure.of(each) is not None for each in shown.videos)
    ]


def _chart(curve: LearningCurve, measure: _Measure) -> Chart:
    """Lay a chart out: a column for each video in the order of work, a rule where networks changed, medians across."""
    bottom, span = _TOP + _PLOT, _WIDTH - _LEFT - _RIGHT
    most = 2 * ceil(max((measure.of(each) or 0 for each in curve.videos), default=0) / 2) or 2
    step = span / max(len(curve.videos), 8)
    parts: list[Bar | Text] = [Text(16, 24, measure.title, 15)]
    for share in (0, 0.5, 1):
        y = bottom - _PLOT * share
        parts += [Bar(_LEFT, y, span, 1, LINE), Text(_LEFT - 8, y, measure.say(most * share), 11, SOFT, "end")]
    letters = min(max(len(each.name) for each in curve.videos), _LONGEST_NAME)
    every = ceil((letters + 2) * _LETTER / step)
    numbers: list[Bar | Text] = []
    for place, each in enumerate(curve.videos):
        x, height = _LEFT + step * (place + 0.5), max(_PLOT * (measure.of(each) or 0) / most, 2)
        told = f"{each.name}, begun {_day(each.begun_at)}: {_said(measure, each)}"
        colour = OWN if each.by_own else BASE
        parts.append(Bar(x - 0.35 * step, bottom - height, 0.7 * step, height, colour, told))
        if len(curve.videos) <= _NUMBERED:
            numbers += _number(_said(measure, each), x, bottom - height - 9)
        if place % every == 0:
            parts.append(Text(x, bottom + 13, _short(each.name, letters), 11, INK, "middle"))
    parts += [*_stages(curve.stages, step, measure, _PLOT / most), *numbers]
    entries = [(BASE, "with the package's networks"), (OWN, "with the project's own")]
    across = f"across: the median of {LEAST_VIDEOS} videos or more"
    if curve.turns:
        entries.append((TURN, f"other networks from here on; {across}"))
    elif any(measure.median(stage) is not None for stage in curve.stages):
        entries.append((TURN, across))
    parts += legend(_LEFT, bottom + _BELOW - 22.0, entries)
    return Chart(_WIDTH, bottom + _BELOW, tuple(parts), _in_words(curve, measure))


def _stages(stages: Sequence[Stage], step: float, measure: _Measure, scale: float) -> list[Bar | Text]:
    """Return a rule at the beginning of each stage with what began it, and the stage's median.

    Args:
        stages: in their order.
        step: pixels a video.
        measure: of the chart.
        scale: pixels for one of what is measured.
    """
    bottom = _TOP + _PLOT
    parts: list[Bar | Text] = []
    ends = [0.0] * _ROWS
    videos = 0
    for stage in stages:
        x = _LEFT + step * videos
        videos += stage.videos
        if stage.turns:
            parts.append(Bar(x - 1, _TOP - 22, 2, _PLOT + 22, TURN, stage.name))
            more = f" (+{len(stage.turns) - 1})" if len(stage.turns) > 1 else ""
            parts += _words(stage.turns[-1].what + more, x, ends)
        middle = measure.median(stage)
        if middle is not None:
            parts.append(
                Bar(x + 2, bottom - middle * scale - 1, step * stage.videos - 4, 2, TURN, f"median, {stage.name}")
            )
    return parts


def _number(text: str, x: float, y: float) -> list[Bar | Text]:
    """Write above a column, (x, y) in the middle, so that it is read where a median passes."""
    width = _LETTER * len(text) + 2
    return [Bar(x - width / 2, y - 6, width, 12, PAPER), Text(x, y, text, 11, SOFT, "middle")]


def _words(words: str, x: float, ends: list[float]) -> list[Bar | Text]:
    """Write above a rule, in the first row that has room; nowhere, if none has. `ends` of the rows are moved on."""
    width = _LETTER * len(words) + 8
    left = min(x + 3, _WIDTH - width)
    for row, end in enumerate(ends):
        if left >= end:
            ends[row] = left + width
            return [Text(left, _TOP - 26 - _ROW * row, words, 11, TURN)]
    return []


def _in_words(curve: LearningCurve, measure: _Measure) -> str:
    """Return what the chart shows, for those who cannot see it."""
    words, videos = [], list(curve.videos)
    for stage in curve.stages:
        here, videos = videos[: stage.videos], videos[stage.videos :]
        values = ", ".join(_said(measure, each) for each in here)
        words.append(f"{stage.name if stage.turns else ''}: {values or 'no video yet'}".removeprefix(": "))
    return f"{measure.title}: {'; '.join(words)}"


def _said(measure: _Measure, video: WorkedVideo) -> str:
    known = measure.of(video)
    return "?" if known is None else measure.say(known)


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d")


def _short(text: str, length: int) -> str:
    """Return the end of a long name: videos of one project mostly begin alike."""
    return text if len(text) <= length else ".." + text[2 - length :]
