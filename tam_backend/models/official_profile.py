"""The profiles of SAM and XMem put together: their networks, the official weights and the objects over them."""

from __future__ import annotations

from pathlib import Path

import torch

from tam_backend.models.protocols import Models
from tam_backend.models.segmenters.sam import SamSegmenter
from tam_backend.models.segmenters.sam_network import load_sam
from tam_backend.models.weights import is_recorded, require_recorded_bytes
from tam_backend.models.xmem import XMemConfig, XMemTracker, load_xmem

# The shorter side at which XMem's authors report their results.
_TRACKER_SIDE = 480


def build(
    name: str, version: str, sam_variant: str, sam_weights: Path, xmem_weights: Path, device: torch.device
) -> Models:
    """Load both networks on a device.

    Args:
        name: of the profile.
        version: for `model_version`.
        sam_variant: one of `SAM_VARIANTS`.
        sam_weights: official state dict.
        xmem_weights: official state dict.
        device: where the networks will live.

    Raises:
        WeightsError: weights missing, damaged or of another network.
    """
    for path in (sam_weights, xmem_weights):
        if is_recorded(path):
            require_recorded_bytes(path)
    network = load_xmem(xmem_weights, device, precision="fast")
    return Models(
        profile=name,
        version=version,
        device=device,
        segmenter=SamSegmenter(load_sam(sam_weights, sam_variant, device), version, device),
        new_tracker=lambda: XMemTracker(network, XMemConfig()),
        tracker_side=_TRACKER_SIDE,
        # Not measured: as in Track Anything, whose segmenter and tracker these are.
        refines=True,
    )
