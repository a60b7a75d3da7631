"""Train the click segmenter: `python -m training.segmenter --config training/configs/segmenter.toml`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.clicking import next_click
from tam_backend.models.segmenters.compact_network import ClickNetwork
from training.clicks import draw_click
from training.loop import Trainer, TrainingConfig, batch_iou, load_start, mask_loss, read_config
from training.stills import StillMaker
from training.streams import SampleStream
from training.things import load_pictures
from training.validation import segmenter_validation


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


class ClickLesson:
    """The loss of one batch: a simulated annotator clicks into the largest error, round after round."""

    def __init__(self, rounds: int, click_radius: float, seed: int, first_weight: float = 1.0) -> None:
        self._rounds, self._radius = rounds, click_radius
        self._weights = torch.tensor([first_weight] + [1.0] * (rounds - 1))
        self._rng = np.random.default_rng(seed)

    def __call__(
        self, network: nn.Module, images: Tensor, masks: Tensor, progress: float
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the loss and the IoU after each round.

        Args:
            network: a ClickNetwork.
            images: (B, 3, S, S) uint8.
            masks: (B, S, S) uint8 0 or 1.
            progress: unused; the lesson is the same all along.
        """
        del progress
        assert isinstance(network, ClickNetwork)
        truth_np, truth = masks.numpy() > 0, masks[:, None].float()
        positive = np.zeros((len(masks), 1, *masks.shape[1:]), np.float32)
        negative, earlier = positive.copy(), torch.zeros(len(masks), 1, *masks.shape[1:])
        figures: dict[str, float] = {}
        losses = []
        with torch.autocast("cpu", torch.bfloat16):
            encoded = network.encode(network.backbone.normalise(images.float() / 255))
            for number in range(self._rounds):
                self._click(truth_np, earlier[:, 0].numpy() > 0.5, positive, negative, number)
                logits = network.decode(encoded, torch.from_numpy(positive), torch.from_numpy(negative), earlier)
                logits = nn.functional.interpolate(logits, masks.shape[1:], mode="bilinear", align_corners=False)
                losses.append(mask_loss(logits[:, 0], truth[:, 0]).mean())
                figures[f"iou{number + 1}"] = float(batch_iou(logits[:, 0].detach(), truth[:, 0]).mean())
                earlier = torch.sigmoid(logits).detach().float()
                if self._rng.random() < 0.2:
                    # Clicks alone must do too: sometimes nobody hands over the earlier mask.
                    earlier = earlier * (torch.rand(len(masks), 1, 1, 1) > 0.5)
        return (torch.stack(losses) * self._weights).sum() / self._weights.sum(), figures

    def _click(
        self,
        truth: NDArray[np.bool_],
        answer: NDArray[np.bool_],
        positive: NDArray[np.float32],
        negative: NDArray[np.float32],
        number: int,
    ) -> None:
        for b in range(len(truth)):
            seen = answer[b] if number else np.zeros_like(truth[b])
            clicks = 1 if number == 0 or self._rng.random() < 0.7 else 2
            for _ in range(clicks):
                click = next_click(truth[b], seen, self._rng)
                if click is not None:
                    draw_click((positive if click.positive else negative)[b, 0], click, self._radius)


def main() -> None:
    """Read the config, train, resume where an earlier run stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    config = read_config(SegmenterConfig, parser.parse_args().config)
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    network = ClickNetwork()
    load_start(network, config.start)
    images, cutouts = load_pictures(config)
    make = partial(StillMaker, images, config.side, wholeness=config.wholeness, cutouts=cutouts)
    Trainer(
        network,
        config,
        ClickLesson(config.rounds, config.click_radius, config.seed, config.first_weight),
        lambda seed: torch.utils.data.DataLoader(
            SampleStream(make, seed),
            batch_size=config.batch,
            num_workers=1,
            prefetch_factor=3,
        ),
        segmenter_validation(config.validation) if config.validation else None,
    ).run()


if __name__ == "__main__":
    main()
