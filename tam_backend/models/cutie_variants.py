"""The one place for Cutie's published networks: a row for each, of which its tracker and its file follow.

Importable without torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tam_backend.models.cutie_tracker.package_network import CutieSize
from tam_backend.models.published import PublishedFile


@dataclass(frozen=True)
class CutieVariant:
    """A Cutie by its image encoder.

    Args:
        kind: the tracker's name in profiles.
        size: what the package calls it.
        file: the published state dict; its layout is the kind.
        speed: one line on how quick it is, with where that was measured.
    """

    kind: str
    size: CutieSize
    file: PublishedFile
    speed: str


def check_cutie_layout(path: Path, layout: str) -> None:
    """Look whether a file holds the variant that the layout names. Raises WeightsError, MissingPackageError."""
    from tam_backend.models.cutie_tracker.cutie_loading import check_cutie  # noqa: PLC0415 - torch is slow to import

    check_cutie(path, CUTIE_VARIANTS[layout].size)


# Not downloaded where this was written (no internet). Several independent projects print the SHA-256 of the base
# checkpoint and two its size, all alike, and a state dict of its layout is as large but for a thousandth. Of the small
# one nobody was found to print either.
_CUTIE = "https://github.com/hkchengrex/Cutie/releases/download/v1.0"

_ROWS = (
    CutieVariant(
        kind="cutie",
        size="base",
        file=PublishedFile(
            name="cutie-base-mega.pth",
            url=f"{_CUTIE}/cutie-base-mega.pth",
            layout="cutie",
            check=check_cutie_layout,
            size_bytes=140_443_788,
            sha256="9c05402ee36d3a356fb72715d263ba7e1ea06ad3bada48c1306491792da43023",
        ),
        speed="1.2 s of one CPU core a frame (one object, 480p)",
    ),
    CutieVariant(
        kind="cutie-small",
        size="small",
        file=PublishedFile(
            name="cutie-small-mega.pth",
            url=f"{_CUTIE}/cutie-small-mega.pth",
            layout="cutie-small",
            check=check_cutie_layout,
        ),
        speed="0.8 s of one CPU core a frame (one object, 480p)",
    ),
)

CUTIE_VARIANTS: dict[str, CutieVariant] = {row.kind: row for row in _ROWS}
