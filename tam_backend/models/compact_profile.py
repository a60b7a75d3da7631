"""The compact profile put together: its two networks, their weights and the objects over them."""

from __future__ import annotations

from pathlib import Path

import torch

from tam_backend.models.compact_tracker.compact_network import CompactNetwork
from tam_backend.models.compact_tracker.compact_tracker import CompactTracker
from tam_backend.models.devices import has_fast_bfloat16, keep_fast_precision, keep_freed_memory
from tam_backend.models.protocols import Models
from tam_backend.models.segmenters.click_network import ClickNetwork
from tam_backend.models.segmenters.compact_segmenter import CompactSegmenter
from tam_backend.models.weights import load_verified
from tam_backend.models.winograd import use_winograd

# Better than 352 by 3 points of J&F at twice the time (model card).
_TRACKER_SIDE = 480
# With fewer, the transforms cost what the multiplications save (measured).
_WINOGRAD_CHANNELS = 96


def build(name: str, version: str, segmenter_weights: Path, tracker_weights: Path, device: torch.device) -> Models:
    """Load both networks on a device.

    Args:
        name: of the profile.
        version: for `model_version`.
        segmenter_weights: recorded in the manifest beside it.
        tracker_weights: the same.
        device: where the networks will live.

    Raises:
        WeightsError: weights missing, damaged or of another network.
    """
    click_network, track_network = ClickNetwork(), CompactNetwork()
    for network, path in ((click_network, segmenter_weights), (track_network, tracker_weights)):
        load_verified(network, path)
        network.to(device).to(memory_format=torch.channels_last).eval()
        keep_fast_precision(network, device)
    if device.type == "cpu":
        keep_freed_memory()
        if not has_fast_bfloat16(device):
            use_winograd(track_network, tile=4, least_channels=_WINOGRAD_CHANNELS)
    return Models(
        profile=name,
        version=version,
        device=device,
        segmenter=CompactSegmenter(click_network, version, device),
        new_tracker=lambda: CompactTracker(track_network, device),
        tracker_side=_TRACKER_SIDE,
    )
