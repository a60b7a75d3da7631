"""Which kinds of segmenters and trackers there are: the package's own, and those that other packages bring.

This is the one place to add a kind: a row in `_segmenters` or `_trackers`. A package of its own adds one through an
entry point of the group `tam_backend.segmenters` or `tam_backend.trackers`: the kind's name, and where its
`SegmenterKind` or `TrackerKind` is (docs/networks.md has an example). Importable without torch, as plug-ins must be.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from tam_backend.models import published
from tam_backend.models.cutie_tracker.package_network import CUTIE_PACKAGE, CutieSize
from tam_backend.models.cutie_variants import CUTIE_VARIANTS
from tam_backend.models.kinds import Kind, Loading, SegmenterKind, TrackerKind
from tam_backend.models.sam2_variants import SAM2_VARIANTS, Sam2Variant
from tam_backend.models.sam_variants import SAM_VARIANTS, SamVariant

if TYPE_CHECKING:
    from tam_backend.models.protocols import Segmenter, TrackerFactory

EMBEDDED_DIR = Path(__file__).with_name("embedded")
SEGMENTERS_GROUP, TRACKERS_GROUP = "tam_backend.segmenters", "tam_backend.trackers"

AnyKind = TypeVar("AnyKind", bound=Kind)

# SAM 2.1 squeezes frames to 1024 x 1024 and answers at a quarter of that. More than this is not in its answer, and
# every pixel costs time when a mask's quality is judged.
_SAM2_SIDE = 720

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Kinds(Generic[AnyKind]):
    """All kinds of one sort.

    Args:
        by_name: those that can be asked for, the package's own first.
        refused: plug-ins that cannot, by name, each with the reason.
    """

    by_name: dict[str, AnyKind]
    refused: dict[str, str]


def segmenter_kinds() -> Kinds[SegmenterKind]:
    """Return the segmenters there are."""
    return _with_plugins(_segmenters(), SEGMENTERS_GROUP, SegmenterKind)


def tracker_kinds() -> Kinds[TrackerKind]:
    """Return the trackers there are."""
    return _with_plugins(_trackers(), TRACKERS_GROUP, TrackerKind)


def _segmenters() -> Iterable[SegmenterKind]:
    yield SegmenterKind(
        name="compact",
        description="a small network of our own for two CPU cores; quick and modest",
        speed="a click in Label Studio on two CPU cores: 0.9 s, on a frame seen before 0.3 s",
        license="Apache-2.0",
        release="0.2",
        embedded=(EMBEDDED_DIR / "compact_segmenter.safetensors",),
        build=_compact_segmenter,
        goes_with="compact",
        refines=False,  # measured: no better with it (docs/loop.md)
    )
    for variant in SAM_VARIANTS.values():
        yield SegmenterKind(
            name=variant.kind,
            description=f"SAM {variant.name}",
            speed=variant.speed,
            license="Apache-2.0",
            published=(variant.file,),
            build=partial(_sam_segmenter, variant),
            # Refines, as by default: not measured, but as in Track Anything, whose segmenter this is.
        )

    for size in SAM2_VARIANTS.values():
        yield SegmenterKind(
            name=size.kind,
            description=_sam2_name(size),
            license="Apache-2.0",
            published=(size.file,),
            package=size.package,
            build=partial(_sam2_segmenter, size),
            goes_with=size.kind,
        )


def _trackers() -> Iterable[TrackerKind]:
    yield TrackerKind(
        name="compact",
        description="a small network of our own for two CPU cores; quick and modest",
        speed="10 frames/s on two CPU cores, 416 on an H200 (one object, 480p)",
        license="Apache-2.0",
        release="0.2",
        embedded=(EMBEDDED_DIR / "compact_tracker.safetensors",),
        build=_compact_tracker,
    )
    yield TrackerKind(
        name="xmem",
        description="XMem, the tracker of Track Anything",
        speed="289 frames/s on an H200 (one object, 480p)",
        license="not said for the weights; its code is MIT",
        published=published.XMEM_CHECKPOINTS,
        build=_xmem_tracker,
    )
    for variant in CUTIE_VARIANTS.values():
        yield TrackerKind(
            name=variant.kind,
            description=f"Cutie {variant.size}, XMem's successor by the same author",
            speed=variant.speed,
            license="not said for the weights; its code is MIT",
            published=(variant.file,),
            package=CUTIE_PACKAGE,
            build=partial(_cutie_tracker, variant.size),
        )
    for size in SAM2_VARIANTS.values():
        yield TrackerKind(
            name=size.kind,
            description=f"{_sam2_name(size)}, by its memory attention",
            license="Apache-2.0",
            published=(size.file,),
            package=size.package,
            build=partial(_sam2_tracker, size),
            side=_SAM2_SIDE,
            explains=False,
        )


def _sam2_name(size: Sam2Variant) -> str:
    return f"SAM 2.1 {size.kind.removeprefix('sam2.1-')}"


def _compact_segmenter(weights: tuple[Path, ...], loading: Loading) -> Segmenter:
    from tam_backend.models.compact_profile import build_segmenter  # noqa: PLC0415 - torch is slow to import

    return build_segmenter(weights, loading)


def _compact_tracker(weights: tuple[Path, ...], loading: Loading) -> TrackerFactory:
    from tam_backend.models.compact_profile import build_tracker  # noqa: PLC0415 - torch is slow to import

    return build_tracker(weights, loading)


def _sam_segmenter(variant: SamVariant, weights: tuple[Path, ...], loading: Loading) -> Segmenter:
    from tam_backend.models.official_networks import build_sam  # noqa: PLC0415 - torch is slow to import

    return build_sam(variant, weights, loading)


def _xmem_tracker(weights: tuple[Path, ...], loading: Loading) -> TrackerFactory:
    from tam_backend.models.official_networks import build_xmem  # noqa: PLC0415 - torch is slow to import

    return build_xmem(weights, loading)


def _sam2_segmenter(size: Sam2Variant, weights: tuple[Path, ...], loading: Loading) -> Segmenter:
    from tam_backend.models.official_networks import build_sam2_segmenter  # noqa: PLC0415 - torch is slow to import

    return build_sam2_segmenter(size, weights, loading)


def _sam2_tracker(size: Sam2Variant, weights: tuple[Path, ...], loading: Loading) -> TrackerFactory:
    from tam_backend.models.official_networks import build_sam2_tracker  # noqa: PLC0415 - torch is slow to import

    return build_sam2_tracker(size, weights, loading)


def _cutie_tracker(size: CutieSize, weights: tuple[Path, ...], loading: Loading) -> TrackerFactory:
    from tam_backend.models.official_networks import build_cutie  # noqa: PLC0415 - torch is slow to import

    return build_cutie(size, weights, loading)


def _with_plugins(own: Iterable[AnyKind], group: str, kind: type[AnyKind]) -> Kinds[AnyKind]:
    by_name = {each.name: each for each in own}
    refused: dict[str, str] = {}
    for found in entry_points(group=group):
        brought = _brought(found.load, found.name, kind)
        if isinstance(brought, str):
            refused[found.name] = f"{found.value} {brought}"
        elif found.name in by_name:
            refused[found.name] = f"{found.value} has a name that is taken."
        else:
            by_name[found.name] = brought
    return Kinds(by_name, refused)


def _brought(load: Callable[[], object], name: str, kind: type[AnyKind]) -> AnyKind | str:
    """Return what an entry point leads to, or what is wrong with it: one bad plug-in must not take the others along."""
    try:
        brought = load()
    except Exception as error:
        return f"cannot be imported: {type(error).__name__}: {error}."
    if not isinstance(brought, kind):
        return f"is no {kind.__name__}, but a {type(brought).__name__}."
    if brought.name != name or not _NAME.fullmatch(name):
        return (
            f"is called {brought.name!r}; it must be called as its entry point, by letters, digits, dots and hyphens."
        )
    return brought
