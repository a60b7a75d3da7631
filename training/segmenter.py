"""Train the click segmenter: `python -m training.segmenter --config training/configs/segmenter.toml`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from tam_backend.adaptation.click_lesson import ClickLesson
from tam_backend.models.segmenters.click_network import ClickNetwork
from training.loop import TrainingConfig, Validate, run
from training.pictures import Pictures, load_pictures
from training.stills import StillMaker
from training.streams import Make


@dataclass(frozen=True)
class SegmenterConfig(TrainingConfig):
    """Settings of `training.segmenter`.

    Args:
        rounds: clicks (or more) that are answered per still, each after seeing the answer to the one before.
        click_radius: of the discs that stand for clicks, pixels of the network's input.
        first_weight: how much the answer to the first click counts in the loss, each later one counting 1.
        wholeness: how much more often whole things are drawn than parts and grounds; 1 = as in run s1, 0 = not.
    """

    rounds: int = 3
    click_radius: float = 4.3
    first_weight: float = 1.0
    wholeness: float = 1.0


def segmenter_samples(pictures: Pictures, config: SegmenterConfig, seed: int) -> StillMaker:
    """Return the endless stream of stills that a config describes."""
    return StillMaker(
        pictures.photographs,
        config.side,
        seed,
        wholeness=config.wholeness,
        cutouts=pictures.cutouts,
        weights=pictures.weights,
    )


def _samples(config: SegmenterConfig) -> Make:
    return partial(segmenter_samples, load_pictures(config), config)


def _validation(folders: str) -> Validate:
    from training.validation import segmenter_validation  # noqa: PLC0415 - brings the whole public API along

    return segmenter_validation(folders)


if __name__ == "__main__":
    run(SegmenterConfig, __doc__, ClickNetwork, ClickLesson, _samples, _validation)
