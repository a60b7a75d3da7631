"""The report's picture, of every video who made its masks and how long it took: laid out once, drawn as SVG and PNG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from tam_backend.effort.durations import duration
from tam_backend.effort.summary import Effort, EffortReport
from tam_backend.fonts import draw_text

COLOURS = {"kept": "#2f9e62", "clicked": "#3b7ddd", "edited": "#e09b2d", "drawn": "#d9534f"}
MEANINGS = {"kept": "kept as proposed", "clicked": "by a click", "edited": "edited", "drawn": "drawn by hand"}
_HAND, _WITH = "#b9c0ca", "#7a72e0"
INK, SOFT, LINE, PAPER, OWN, TURN = "#1a1e24", "#5d6673", "#e3e7ec", "#ffffff", "#6d3fd1", "#b86a00"
_WIDTH, _LEFT, _MASKS, _GAP, _TIME, _ROW, _TOP = 1040, 190, 350, 90, 220, 34, 96
_ROWS = 20
# What pages call these colours, so that a chart on a page is dark where the page is.
_THEMED = {INK: "--ink", SOFT: "--soft-ink", LINE: "--line", PAPER: "--card", OWN: "--look", TURN: "--fair"}


@dataclass(frozen=True)
class Bar:
    """A filled rectangle, in pixels; `says` is told to whoever points at it."""

    x: float
    y: float
    width: float
    height: float
    colour: str
    says: str = ""


@dataclass(frozen=True)
class Text:
    """A line of text; (x, y) is its middle's left end, middle, or right end, by `anchor`."""

    x: float
    y: float
    text: str
    size: int = 13
    colour: str = INK
    anchor: str = "start"


@dataclass(frozen=True)
class Chart:
    """What is drawn, in this order; `title` says what, to those who cannot see it."""

    width: int
    height: int
    parts: tuple[Bar | Text, ...]
    title: str = "Masks and working time of each video"


def effort_chart(report: EffortReport) -> Chart:
    """Lay the chart out: of many tasks, those with most masks."""
    shown = sorted(sorted(report.tasks, key=lambda each: -each.masks)[:_ROWS], key=lambda each: each.task or 0)
    height = _TOP + _ROW * len(shown) + 44
    right = _LEFT + _MASKS + _GAP
    parts: list[Bar | Text] = [
        Text(16, 26, f"Effort: {_short(report.title or f'project {report.project}', 60)}", 19),
        Text(_LEFT, 60, "Masks submitted", 14),
        Text(right, 60, "Working time", 14),
    ]
    most = max((each.masks for each in shown), default=0) or 1
    longest = max((max(_by_hand_s(report, each), each.lead_time_s or 0) for each in shown), default=0) or 1
    parts += [Bar(column, _TOP - 12, 1, _ROW * len(shown) + 8, LINE) for column in (_LEFT, right)]
    for row, each in enumerate(shown):
        y = float(_TOP + row * _ROW)
        parts.append(Text(_LEFT - 12, y + 8, _short(each.video, 24), anchor="end"))
        x = float(_LEFT)
        for fate, colour in COLOURS.items():
            width = _MASKS * getattr(each, fate) / most
            if width:
                parts.append(Bar(x, y, width, 16, colour))
                x += width
        parts.append(Text(x + 6, y + 8, str(each.masks), 12, SOFT))
        parts.append(Bar(right, y - 2, _TIME * _by_hand_s(report, each) / longest, 9, _HAND))
        parts.append(Bar(right, y + 8, _TIME * (each.lead_time_s or 0) / longest, 9, _WITH))
        told = "not measured" if each.lead_time_s is None else duration(each.lead_time_s)
        if each.lead_time_s is not None and each.by_hand < each.annotations:
            told += f" instead of {duration(_by_hand_s(report, each))}"
        end = right + _TIME * max(_by_hand_s(report, each), each.lead_time_s or 0) / longest
        parts.append(Text(end + 6, y + 8, told, 12, SOFT))
    below = height - 22.0
    parts += legend(_LEFT, below, [(COLOURS[fate], MEANINGS[fate]) for fate in COLOURS])
    parts += legend(right, below, [(_HAND, "all drawn by hand (estimate)"), (_WITH, "as it was")])
    return Chart(_WIDTH, height, tuple(parts))


def as_svg(chart: Chart) -> str:
    """Return the chart as an <svg> element that stands by itself."""
    drawn = []
    for part in chart.parts:
        if isinstance(part, Bar):
            drawn.append(
                f'<rect x="{part.x:.1f}" y="{part.y:.1f}" width="{part.width:.1f}" height="{part.height:.1f}" '
                f'rx="{2 if part.width > 4 else 0}" fill="{_fill(part.colour)}"{_told(part.says)}'
            )
        else:
            drawn.append(
                f'<text x="{part.x:.1f}" y="{part.y:.1f}" font-size="{part.size}" fill="{_fill(part.colour)}" '
                f'text-anchor="{part.anchor}" dominant-baseline="central">{escape(part.text)}</text>'
            )
    return (
        f'<svg class="effort" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {chart.width} {chart.height}" role="img" '
        f'aria-label="{escape(chart.title)}" font-family="system-ui, sans-serif">'
        f'<rect width="100%" height="100%" fill="{_fill(PAPER)}"/>{"".join(drawn)}</svg>'
    )


def _fill(colour: str) -> str:
    return f"var({_THEMED[colour]}, {colour})" if colour in _THEMED else colour


def _told(says: str) -> str:
    return f"><title>{escape(says)}</title></rect>" if says else "/>"


def write_png(chart: Chart, path: Path, scale: int = 2) -> None:
    """Write the chart as a picture of `scale` pixels for each of its own."""
    from PIL import Image, ImageDraw  # noqa: PLC0415 - not needed for `--help`

    image = Image.new("RGB", (chart.width * scale, chart.height * scale), PAPER)
    pen = ImageDraw.Draw(image)
    anchors = {"start": "lm", "middle": "mm", "end": "rm"}
    for part in chart.parts:
        if isinstance(part, Bar):
            if part.width * scale >= 1:
                corner = ((part.x + part.width) * scale - 1, (part.y + part.height) * scale - 1)
                pen.rectangle((part.x * scale, part.y * scale, *corner), fill=part.colour)
        else:
            place = (part.x * scale, part.y * scale)
            draw_text(pen, place, part.text, part.size * scale, part.colour, anchors[part.anchor])
    image.save(path, format="PNG", optimize=True)


def _by_hand_s(report: EffortReport, effort: Effort) -> float:
    return effort.masks * report.seconds_per_mask


def legend(x: float, y: float, entries: Sequence[tuple[str, str]]) -> list[Bar | Text]:
    """Lay out what colours mean, side by side: (colour, words) each, from x on, y in the middle."""
    parts: list[Bar | Text] = []
    for colour, text in entries:
        parts += [Bar(x, y - 6, 12, 12, colour), Text(x + 17, y, text, 12, SOFT)]
        x += 17 + 6.6 * len(text) + 14
    return parts


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."
