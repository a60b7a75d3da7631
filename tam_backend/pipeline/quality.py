"""How far a mask is to be trusted: a first honest measure, from the tracker's own probabilities."""

from __future__ import annotations

from torch import Tensor


def expected_iou(probability: Tensor, mask: Tensor) -> float:
    """Return 0..1, the IoU that a mask may expect if the probabilities are right.

    For a mask m and per-pixel probabilities p the expected intersection is sum(p * m), the expected union
    sum(max(p, m)); their ratio estimates the expected IoU. An empty mask is as good as the object is improbable
    everywhere: 1 - max(p).

    Args:
        probability: (h, w) float in 0..1.
        mask: (h, w) bool.
    """
    inside = mask.to(probability.dtype)
    if not bool(mask.any()):
        return float((1 - probability.max()).clamp(0, 1))
    intersection = (probability * inside).sum()
    union = probability.maximum(inside).sum()
    return float((intersection / union).clamp(0, 1))
