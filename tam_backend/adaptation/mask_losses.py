"""How far masks are from the truth, as a loss to learn from and as a figure to look at."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def mask_loss(logits: Tensor, truth: Tensor, hardest: float = 1.0) -> Tensor:
    """Return (N,): cross entropy, over the hardest share of pixels, plus soft Dice.

    Args:
        logits: (N, H, W).
        truth: (N, H, W) float 0 or 1.
        hardest: share of pixels that the cross entropy is taken over; 1 = all.
    """
    entropy = nn.functional.binary_cross_entropy_with_logits(logits, truth, reduction="none").flatten(1)
    if hardest < 1:
        entropy = entropy.topk(int(hardest * entropy.shape[1]), 1).values
    p, t = torch.sigmoid(logits).flatten(1), truth.flatten(1)
    dice = 1 - (2 * (p * t).sum(1) + 1) / (p.sum(1) + t.sum(1) + 1)
    return entropy.mean(1) + dice


def batch_iou(logits: Tensor, truth: Tensor) -> Tensor:
    """Return (N,): IoU of logits above 0 with the truth; (N, H, W) both."""
    mask, t = logits.flatten(1) > 0, truth.flatten(1) > 0.5
    return ((mask & t).sum(1) + 1) / ((mask | t).sum(1) + 1)
