"""Published networks put together: their official weights and the objects over them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tam_backend.models.cutie_tracker.cutie_loading import load_cutie
from tam_backend.models.cutie_tracker.cutie_tracker import CutieTracker
from tam_backend.models.cutie_tracker.package_network import CutieSize
from tam_backend.models.kinds import Loading
from tam_backend.models.protocols import Segmenter, TrackerFactory
from tam_backend.models.sam2_network import load_sam2
from tam_backend.models.sam2_tracker.sam2_tracker import Sam2Tracker
from tam_backend.models.sam2_variants import Sam2Variant
from tam_backend.models.sam_variants import SamVariant
from tam_backend.models.segmenters.sam import SamSegmenter
from tam_backend.models.segmenters.sam2_segmenter import Sam2Segmenter
from tam_backend.models.segmenters.sam_network import load_sam
from tam_backend.models.weights import require_recorded_if_known
from tam_backend.models.xmem import XMemConfig, XMemTracker, load_xmem

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base


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


def build_sam2_segmenter(variant: Sam2Variant, weights: tuple[Path, ...], loading: Loading) -> Segmenter:
    """Load a SAM 2.1 to segment; a tracker of the same size in the same profile shares the network.

    Args:
        variant: a row of `SAM2_VARIANTS`.
        weights: the official checkpoint.
        loading: version and device.

    Raises:
        MissingPackageError: the package `sam2` is not installed.
        WeightsError: weights missing, damaged or of another network.
    """
    return Sam2Segmenter(_sam2(variant, weights, loading), loading.version, loading.device)


def build_sam2_tracker(variant: Sam2Variant, weights: tuple[Path, ...], loading: Loading) -> TrackerFactory:
    """Load a SAM 2.1 to track; arguments and errors as for `build_sam2_segmenter`."""
    network, device = _sam2(variant, weights, loading), loading.device
    return lambda: Sam2Tracker(network, device)


def _sam2(variant: Sam2Variant, weights: tuple[Path, ...], loading: Loading) -> SAM2Base:
    (path,) = weights

    def load() -> SAM2Base:
        require_recorded_if_known(path)
        return load_sam2(path, variant, loading.device)

    return loading.once(path, load)
