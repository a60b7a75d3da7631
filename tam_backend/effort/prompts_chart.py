"""A picture of whether a project's videos take less of people, one after the other, once networks learnt from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tam_backend.effort.chart import Bar, Chart, Text

_BASE, _OWN = "#b9c0ca", "#5b54c9"
_INK, _SOFT, _LINE = "#1a1e24", "#5d6673", "#e3e7ec"
_WIDTH, _LEFT, _TOP, _PLOT, _BELOW = 1040, 60, 52, 130, 58


@dataclass(frozen=True)
class PromptedVideo:
    """What a video took.

    Args:
        name: what to call it.
        frames: on which people prompted or corrected something.
        by_own: the networks had learnt from the project.
    """

    name: str
    frames: int
    by_own: bool


def prompts_chart(videos: Sequence[PromptedVideo]) -> Chart:
    """Lay out a column for each video, in this order.

    >>> prompts_chart([PromptedVideo("7", 4, False), PromptedVideo("8", 2, True)]).title
    'Frames that people prompted on, of each video in the order of work: 4, 2'
    """
    parts: list[Bar | Text] = [
        Text(16, 22, "Frames that people clicked or corrected, video by video", 15),
        Bar(_LEFT, _TOP + _PLOT, _WIDTH - _LEFT - 16, 1, _LINE),
    ]
    most = max((each.frames for each in videos), default=0) or 1
    step = (_WIDTH - _LEFT - 16) / max(len(videos), 8)
    for place, each in enumerate(videos):
        height = _PLOT * each.frames / most
        x = _LEFT + step * (place + 0.5)
        parts.append(Bar(x - 0.35 * step, _TOP + _PLOT - height, 0.7 * step, height, _OWN if each.by_own else _BASE))
        parts.append(Text(x, _TOP + _PLOT - height - 9, str(each.frames), 12, _SOFT, "middle"))
        parts.append(Text(x, _TOP + _PLOT + 13, each.name[:12], 12, _INK, "middle"))
    for x, colour, text in (
        (_LEFT, _BASE, "with the package's networks"),
        (_LEFT + 230, _OWN, "with the project's own"),
    ):
        parts += [
            Bar(x, _TOP + _PLOT + _BELOW - 26, 12, 12, colour),
            Text(x + 17, _TOP + _PLOT + _BELOW - 20, text, 12, _SOFT),
        ]
    counts = ", ".join(str(each.frames) for each in videos)
    title = f"Frames that people prompted on, of each video in the order of work: {counts}"
    return Chart(_WIDTH, _TOP + _PLOT + _BELOW, tuple(parts), title)
