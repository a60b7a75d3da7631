"""Train the tracker: `python -m training.tracker --config training/configs/tracker.toml`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from tam_backend.adaptation.track_lesson import TrackLesson
from tam_backend.models.compact_tracker.compact_network import CompactNetwork
from training.clips import EXITS, Clip, ClipMaker
from training.filmed import FilmedClips
from training.loop import TrainingConfig, Validate, run
from training.pictures import Pictures, load_pictures
from training.streams import Make, mixed


@dataclass(frozen=True)
class TrackerConfig(TrainingConfig):
    """Settings of `training.tracker`.

    Args:
        length: frames per clip.
        hardest: share of the pixels that the cross entropy falls to over the first third of the training.
        hide_second: how often the second object is not given, so that it is something to ignore.
        middle_share: how likely each frame between the first and the last one is in memory; those two always are.
        drop_previous: how often the decoder does not see the mask of the frame before.
        exits: how often a cut-out leaves the frame and comes back.
        small: in how many of the composed clips the objects are 10 to 56 pixels long.
        filmed: how many of the clips are cut out of real videos.
    """

    length: int = 6
    hardest: float = 0.6
    hide_second: float = 0.4
    middle_share: float = 0.5
    drop_previous: float = 0.25
    exits: float = EXITS
    small: float = 0.0
    filmed: float = 0.0


def tracker_samples(pictures: Pictures, config: TrackerConfig, seed: int) -> Iterable[Clip]:
    """Return the endless stream of clips that a config describes."""
    composed = ClipMaker(
        pictures.photographs,
        config.side,
        config.length,
        seed,
        exits=config.exits,
        cutouts=pictures.cutouts,
        small=config.small,
        weights=pictures.weights,
    )
    if not config.filmed:
        return composed
    return mixed(composed, FilmedClips(pictures.films, config.side, config.length, seed + 1), config.filmed, seed + 2)


def _samples(config: TrackerConfig) -> Make:
    return partial(tracker_samples, load_pictures(config), config)


def _validation(folders: str) -> Validate:
    from training.validation import tracker_validation  # noqa: PLC0415 - brings the whole public API along

    return tracker_validation(folders)


if __name__ == "__main__":
    run(TrackerConfig, __doc__, CompactNetwork, TrackLesson, _samples, _validation)
