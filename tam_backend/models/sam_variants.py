"""The one place for SAM-shaped networks: a row for each, of which its segmenter, its file and its builder follow.

Importable without torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tam_backend.models.published import PublishedFile

if TYPE_CHECKING:
    from segment_anything.modeling import Sam


@dataclass(frozen=True)
class SamVariant:
    """A SAM by the name of its image encoder.

    Args:
        kind: the segmenter's name in profiles.
        file: the published state dict; its layout is the variant's name.
        build: makes the network without weights; imports torch only when called. For image encoders that are not the
            package's own, `sam_parts.sam_around` puts SAM's prompt encoder and mask decoder around one.
        speed: one line on how quick it is, with where that was measured.
    """

    kind: str
    file: PublishedFile
    build: Callable[[], Sam]
    speed: str = "not measured"

    @property
    def name(self) -> str:
        """What it is called in messages and in `SAM_VARIANTS`."""
        return self.file.layout


def check_sam_layout(path: Path, variant: str) -> None:
    """Look whether a file is the state dict of a variant. Raises WeightsError."""
    from tam_backend.models.segmenters.sam_network import check_sam  # noqa: PLC0415 - torch is slow to import

    check_sam(path, SAM_VARIANTS[variant])


def _packages_own(name: str) -> Sam:
    from segment_anything import sam_model_registry  # noqa: PLC0415 - brings torch, which is slow to import

    sam: Sam = sam_model_registry[name]()
    return sam


def _mobile_sam() -> Sam:
    from tam_backend.models.segmenters.sam_parts import sam_around  # noqa: PLC0415
    from tam_backend.models.segmenters.tiny_vit import TinyVit  # noqa: PLC0415

    return sam_around(TinyVit())


# Where this was written only MobileSAM's file could be had (it lies in a package on PyPI: tests/e2e). Sizes and SHA-256
# of the others are those that many independent projects print, all alike; the digits in the names of SAM's own three
# begin their MD5, not their SHA-256.
_SAM = "https://dl.fbaipublicfiles.com/segment_anything"

_ROWS = (
    SamVariant(
        kind="sam-vit-h",
        file=PublishedFile(
            name="sam_vit_h_4b8939.pth",
            url=f"{_SAM}/sam_vit_h_4b8939.pth",
            layout="vit_h",
            check=check_sam_layout,
            size_bytes=2_564_550_879,
            sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        ),
        build=partial(_packages_own, "vit_h"),
        speed="23 ms a frame on an H200",
    ),
    SamVariant(
        kind="sam-vit-l",
        file=PublishedFile(
            name="sam_vit_l_0b3195.pth",
            url=f"{_SAM}/sam_vit_l_0b3195.pth",
            layout="vit_l",
            check=check_sam_layout,
            size_bytes=1_249_524_607,
            sha256="3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        ),
        build=partial(_packages_own, "vit_l"),
    ),
    SamVariant(
        kind="sam-vit-b",
        file=PublishedFile(
            name="sam_vit_b_01ec64.pth",
            url=f"{_SAM}/sam_vit_b_01ec64.pth",
            layout="vit_b",
            check=check_sam_layout,
            size_bytes=375_042_383,
            sha256="ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        ),
        build=partial(_packages_own, "vit_b"),
        speed="6 ms a frame on an H200",
    ),
    SamVariant(
        kind="mobile-sam",
        file=PublishedFile(
            name="mobile_sam.pt",
            url="https://github.com/ChaoningZhang/MobileSAM/raw/master/weights/mobile_sam.pt",
            layout="mobile_sam",
            check=check_sam_layout,
            size_bytes=40_728_226,
            sha256="6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
        ),
        build=_mobile_sam,
    ),
)

SAM_VARIANTS: dict[str, SamVariant] = {row.name: row for row in _ROWS}
