"""Weights between two sets of weights of one network."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def blend(start: Mapping[str, Tensor], end: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Return float32 weights `share` of the way from `start` to `end`.

    Halfway may keep what either is better at (Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022).

    Raises:
        ValueError: the two are not of one network.
    """
    if start.keys() != end.keys():
        raise ValueError(
            f"Not weights of one network: {sorted(start.keys() ^ end.keys())[:3]} are in one of them only."
        )
    return {name: value.float().lerp(end[name].float(), share) for name, value in start.items()}
