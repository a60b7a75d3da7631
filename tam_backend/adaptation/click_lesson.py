"""What the click network learns from a batch of stills: an annotator clicks into the largest error, again and again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tam_backend.adaptation.mask_losses import batch_iou, mask_loss
from tam_backend.adaptation.simulated_clicks import draw_click, next_click
from tam_backend.models.devices import fast_precision
from tam_backend.models.segmenters.click_network import ClickNetwork


class ClickRules(Protocol):
    """How stills are clicked."""

    @property
    def rounds(self) -> int:
        """Clicks (or more) that are answered per still, each after seeing the answer to the one before."""

    @property
    def click_radius(self) -> float:
        """Of the discs that stand for clicks, pixels of the network's input."""

    @property
    def first_weight(self) -> float:
        """How much the answer to the first click counts in the loss, each later one counting 1."""

    @property
    def seed(self) -> int:
        """Of where clicks go."""

    @property
    def workers(self) -> int:
        """How many threads place clicks, at least one."""


class ClickLesson:
    """The loss of one batch: a simulated annotator clicks into the largest error, round after round."""

    def __init__(self, rules: ClickRules) -> None:
        self._rounds, self._radius = rules.rounds, rules.click_radius
        self._weights = torch.tensor([rules.first_weight] + [1.0] * (rules.rounds - 1))
        self._rng = np.random.default_rng(rules.seed)
        # OpenCV's distance transform, most of the work of a click, lets other threads run.
        self._threads = ThreadPoolExecutor(max(1, rules.workers))

    def __call__(
        self, network: nn.Module, images: Tensor, masks: Tensor, progress: float
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Return the loss and the IoU after each round.

        Args:
            network: a ClickNetwork.
            images: (B, 3, S, S) uint8.
            masks: (B, S, S) uint8 0 or 1.
            progress: unused; the lesson is the same all along.
        """
        del progress
        if not isinstance(network, ClickNetwork):
            raise TypeError(f"The lesson is for ClickNetwork, not for {type(network).__name__}.")
        device = images.device
        truth_np, truth = masks.cpu().numpy() > 0, masks[:, None].float()
        positive = np.zeros((len(masks), 1, *masks.shape[1:]), np.float32)
        negative, earlier = positive.copy(), torch.zeros(len(masks), 1, *masks.shape[1:], device=device)
        figures: dict[str, Tensor] = {}
        losses = []
        with fast_precision(device):
            encoded = network.encode(network.backbone.normalise(images.float() / 255))
            for number in range(self._rounds):
                self._click(truth_np, earlier[:, 0].cpu().numpy() > 0.5, positive, negative, number)
                inside, outside = (torch.from_numpy(plane).to(device) for plane in (positive, negative))
                logits = network.decode(encoded, inside, outside, earlier)
                logits = nn.functional.interpolate(logits, masks.shape[1:], mode="bilinear", align_corners=False)
                losses.append(mask_loss(logits[:, 0], truth[:, 0]).mean())
                figures[f"iou{number + 1}"] = batch_iou(logits[:, 0].detach(), truth[:, 0]).mean()
                earlier = torch.sigmoid(logits).detach().float()
                if self._rng.random() < 0.2:
                    # Clicks alone must do too: sometimes nobody hands over the earlier mask.
                    earlier = earlier * (torch.rand(len(masks), 1, 1, 1, device=device) > 0.5)
        weights = self._weights.to(device)
        return (torch.stack(losses) * weights).sum() / weights.sum(), figures

    def _click(
        self,
        truth: NDArray[np.bool_],
        answer: NDArray[np.bool_],
        positive: NDArray[np.float32],
        negative: NDArray[np.float32],
        number: int,
    ) -> None:
        seeds: Sequence[int] = self._rng.integers(2**32, size=len(truth)).tolist()

        def click_one(b: int) -> None:
            rng = np.random.default_rng(seeds[b])
            seen = answer[b] if number else np.zeros_like(truth[b])
            for _ in range(1 if number == 0 or rng.random() < 0.7 else 2):
                click = next_click(truth[b], seen, rng)
                if click is not None:
                    draw_click((positive if click.positive else negative)[b, 0], click, self._radius)

        list(self._threads.map(click_one, range(len(truth))))
