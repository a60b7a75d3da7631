"""The compact profile put together: its two networks, their weights and the objects over them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from tam_backend.models.compact_tracker.compact_network import CompactNetwork
from tam_backend.models.compact_tracker.compact_tracker import CompactTracker
from tam_backend.models.devices import has_fast_bfloat16, keep_fast_precision, keep_freed_memory
from tam_backend.models.kinds import Loading
from tam_backend.models.protocols import Segmenter, TrackerFactory
from tam_backend.models.segmenters.click_network import ClickNetwork
from tam_backend.models.segmenters.compact_segmenter import CompactSegmenter
from tam_backend.models.weights import load_verified
from tam_backend.models.winograd import use_winograd

# With fewer, the transforms cost what the multiplications save (measured).
_WINOGRAD_CHANNELS = 96


def build_segmenter(weights: tuple[Path, ...], loading: Loading) -> Segmenter:
    """Load the click network.

    Args:
        weights: recorded in the manifest beside them.
        loading: version and device.

    Raises:
        WeightsError: weights missing, damaged or of another network.
    """
    network = ClickNetwork()
    _load(network, weights, loading.device)
    return CompactSegmenter(network, loading.version, loading.device)


def build_tracker(weights: tuple[Path, ...], loading: Loading) -> TrackerFactory:
    """Load the tracking network.

    Args:
        weights: recorded in the manifest beside them.
        loading: the device.

    Raises:
        WeightsError: weights missing, damaged or of another network.
    """
    network, device = CompactNetwork(), loading.device
    _load(network, weights, device)
    if device.type == "cpu" and not has_fast_bfloat16(device):
        use_winograd(network, tile=4, least_channels=_WINOGRAD_CHANNELS)
    return lambda: CompactTracker(network, device)


def _load(network: nn.Module, weights: tuple[Path, ...], device: torch.device) -> None:
    (path,) = weights
    load_verified(network, path)
    network.to(device).to(memory_format=torch.channels_last).eval()
    keep_fast_precision(network, device)
    if device.type == "cpu":
        keep_freed_memory()
