"""Adaptation from beginning to end: `adapt`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tam_backend.adaptation.labeled import LabeledVideo
from tam_backend.adaptation.outcome import AdaptationLimits, AdaptationOutcome, CompactWeights, Progress


def adapt(
    videos: Sequence[LabeledVideo],
    base: CompactWeights,
    limits: AdaptationLimits,
    folder: Path,
    progress: Callable[[Progress], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> AdaptationOutcome:
    """Learn from some of the videos, measure on the others, and say whether the new networks are better.

    Args:
        videos: at least two with two masks each.
        base: what to begin with, and to be better than.
        limits: of time and memory.
        folder: its own; made when needed. Holds the checkpoint, so that a call after a kill, with the same videos and
            base, goes on where the last one was; and the adapted weights. May be deleted when it is done.
        progress: is told of every step.
        cancelled: asked every few seconds.

    Raises:
        InvalidInputError: fewer than two videos to learn from; the remedy says what to label.
        WeightsError: `base` is missing, or of other networks.
        MediaError: no video can be read.
        OutputError: the folder cannot be written: the disk is full.
        CancelledError: `cancelled` said so; the checkpoint stays, so that a later call goes on.
    """
    raise NotImplementedError
