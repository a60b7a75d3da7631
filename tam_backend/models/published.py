"""What is known of weights that others publish: where they are, how large, their hashes; and the rows of XMem.

The rows of SAM are in sam_variants.py, with what else a variant needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PublishedFile:
    """A file of weights that its authors offer for download.

    Args:
        name: of the file, there and here.
        url: official address.
        layout: of its state dict: what its network is called in messages.
        check: looks whether a file holds that layout, given the path and the layout's name; imports torch only when
            called. Raises WeightsError.
        size_bytes: exact size, or None where it is not known to us.
        sha256: 64 hexadecimal digits, or None where it is not known to us.
    """

    name: str
    url: str
    layout: str
    check: Callable[[Path, str], None]
    size_bytes: int | None = None
    sha256: str | None = None

    @property
    def describe_size(self) -> str:
        """The size for people."""
        return "size not known" if self.size_bytes is None else f"{self.size_bytes / 1e6:,.0f} MB"


def _check_xmem(path: Path, _: str) -> None:
    from tam_backend.models.xmem import load_xmem  # noqa: PLC0415 - torch is slow to import

    load_xmem(path, "cpu")


# Nobody was found to print sizes or hashes of these two, and they could not be downloaded where this was written (no
# internet). What is downloaded is checked against the length that the server announces, and must load as XMem's state
# dict; its SHA-256 is recorded at the first installation.
_XMEM = "https://github.com/hkchengrex/XMem/releases/download/v1.0"

# The checkpoint that Track Anything's own program uses (trained with BL30K besides), and XMem's default one.
XMEM_S012, XMEM = (
    PublishedFile(name=name, url=f"{_XMEM}/{name}", layout="xmem", check=_check_xmem)
    for name in ("XMem-s012.pth", "XMem.pth")
)
XMEM_CHECKPOINTS = (XMEM_S012, XMEM)
