"""The one place for the sizes of SAM 2.1: a row for each, of which its segmenter, its tracker and its file follow.

Importable without torch and without the package `sam2`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tam_backend.models.kinds import Package
from tam_backend.models.published import PublishedFile

SAM2_PACKAGE = Package(project="sam2", module="sam2", command='pip install "tam-backend[sam2]"')


@dataclass(frozen=True)
class Sam2Variant:
    """One size of SAM 2.1.

    Args:
        kind: the name of the segmenter and of the tracker in profiles.
        config: the file in the package's folder `configs/sam2.1` that describes the network.
        file: the published state dict.
        package: what makes the network.
    """

    kind: str
    config: str
    file: PublishedFile
    package: Package = SAM2_PACKAGE


def check_sam2_layout(path: Path, kind: str) -> None:
    """Look whether a file is the state dict of a variant. Raises WeightsError, MissingPackageError."""
    from tam_backend.models.sam2_network import check_sam2  # noqa: PLC0415 - torch is slow to import

    check_sam2(path, SAM2_VARIANTS[kind])


def _variant(kind: str, config: str, file_name: str, size_bytes: int, sha256: str) -> Sam2Variant:
    url = f"https://dl.fbaipublicfiles.com/segment_anything_2/092824/{file_name}"
    return Sam2Variant(kind, config, PublishedFile(file_name, url, kind, check_sam2_layout, size_bytes, sha256))


# None of these files could be downloaded where this was written (no internet). Sizes and SHA-256 are those that
# independent projects print, all alike; each size is that of the package's own network and some 330 bytes a tensor.
_ROWS = (
    _variant(
        "sam2.1-tiny",
        "sam2.1_hiera_t.yaml",
        "sam2.1_hiera_tiny.pt",
        156_008_466,
        "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
    ),
    _variant(
        "sam2.1-small",
        "sam2.1_hiera_s.yaml",
        "sam2.1_hiera_small.pt",
        184_416_285,
        "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
    ),
    _variant(
        "sam2.1-base-plus",
        "sam2.1_hiera_b+.yaml",
        "sam2.1_hiera_base_plus.pt",
        323_606_802,
        "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
    ),
    _variant(
        "sam2.1-large",
        "sam2.1_hiera_l.yaml",
        "sam2.1_hiera_large.pt",
        898_083_611,
        "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
    ),
)

SAM2_VARIANTS: dict[str, Sam2Variant] = {row.kind: row for row in _ROWS}
