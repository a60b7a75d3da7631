"""Published networks put together: their official weights and the objects over them."""

from __future__ import annotations

from pathlib import Path

from tam_backend.models.cutie_tracker.cutie_loading import load_cutie
from tam_backend.models.cutie_tracker.cutie_tracker import CutieTracker
from tam_backend.models.cutie_tracker.package_network import CutieSize
from tam_backend.models.kinds import Loading
from tam_backend.models.protocols import Segmenter, TrackerFactory
from tam_backend.models.sam_variants import SamVariant
from tam_backend.models.segmenters.sam import SamSegmenter
from tam_backend.models.segmenters.sam_network import load_sam
from tam_backend.models.weights import require_recorded_if_known
from tam_backend.models.xmem import XMemConfig, XMemTracker, load_xmem


def build_sam(variant: SamVariant, weights: tuple[Path, ...], loading: Loading) -> Segmenter:
    """Load a SAM.

    Args:
        variant: a row of `SAM_VARIANTS`.
        weights: the official state dict.
        loading: version and device.

    Raises:
        WeightsError: weights missing, damaged or of another network.
    """
    (path,) = weights
    require_recorded_if_known(path)
    return SamSegmenter(load_sam(path, variant, loading.device), loading.version, loading.device)


def build_xmem(weights: tuple[Path, ...], loading: Loading) -> TrackerFactory:
    """Load XMem.

    Args:
        weights: the official state dict.
        loading: the device.

    Raises:
        WeightsError: weights missing, damaged or of another network.
    """
    (path,) = weights
    require_recorded_if_known(path)
    network = load_xmem(path, loading.device, precision="fast")
    return lambda: XMemTracker(network, XMemConfig())


def build_cutie(size: CutieSize, weights: tuple[Path, ...], loading: Loading) -> TrackerFactory:
    """Load Cutie.

    Args:
        size: of its image encoder.
        weights: the official state dict.
        loading: the device.

    Raises:
        WeightsError: weights missing, damaged or of another network.
    """
    (path,) = weights
    require_recorded_if_known(path)
    network = load_cutie(path, size, loading.device)
    return lambda: CutieTracker(network)
