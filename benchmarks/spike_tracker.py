"""The research spike's tracker (../shared/spike), called as ours is, to be timed beside it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


class SpikeTracker:
    """The spike's network and its way of inference, with its own weights; one object.

    Args:
        folder: of the spike: vos.py and checkpoints/.
    """

    def __init__(self, folder: Path) -> None:
        sys.path.insert(0, str(folder))
        try:
            import mbv2  # type: ignore[import-not-found]  # noqa: PLC0415 - they lie outside the project
            import vos  # type: ignore[import-not-found]  # noqa: PLC0415
        finally:
            sys.path.remove(str(folder))
        mbv2.MBV2.load = lambda network: network  # ImageNet's weights, which the checkpoint replaces
        network = vos.VOS()
        weights = torch.load(folder / "checkpoints" / "tracker.pt", weights_only=True)["net"]
        network.load_state_dict({name: value.float() for name, value in weights.items()})
        self._tracker: Any = vos.Tracker(network)
        self._begun = False

    def step(
        self,
        image: Tensor,
        mask: Tensor | None = None,
        object_ids: list[int] | None = None,  # noqa: ARG002 - one object
    ) -> Tensor:
        """Return (2, H, W) masks as numbers; a mask after the first is passed over."""
        frame = (image.permute(1, 2, 0) * 255).byte().numpy()
        if not self._begun:
            assert mask is not None
            self._tracker.init(frame, mask.numpy() == 1)
            self._begun = True
            found = mask == 1
        else:
            found = torch.from_numpy(self._tracker.step(frame))
        return torch.stack([~found, found]).float()
