"""The one table of published weights: where they are, how large, and what is known of their hashes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Layout = Literal["vit_b", "vit_l", "vit_h", "xmem"]


@dataclass(frozen=True)
class PublishedFile:
    """A file of weights that its authors offer for download.

    Args:
        name: of the file, there and here.
        url: official address.
        layout: of its state dict: a SAM by the name of its image encoder, or XMem.
        size_bytes: exact size, or None where it is not known to us.
        sha256: 64 hexadecimal digits, or None where it is not known to us.
    """

    name: str
    url: str
    layout: Layout
    size_bytes: int | None = None
    sha256: str | None = None

    @property
    def describe_size(self) -> str:
        """The size for people."""
        return "size not known" if self.size_bytes is None else f"{self.size_bytes / 1e6:,.0f} MB"


# None of these files could be downloaded where this was written (no internet). Sizes and SHA-256 of the three SAM files
# are those that many independent projects print, all alike; the digits in their names begin their MD5, not their
# SHA-256. For XMem nobody was found to print either: what is downloaded is checked against the length that the server
# announces, and must load as XMem's state dict; its SHA-256 is recorded at the first installation.
_SAM = "https://dl.fbaipublicfiles.com/segment_anything"
_XMEM = "https://github.com/hkchengrex/XMem/releases/download/v1.0"

SAM_VIT_H = PublishedFile(
    name="sam_vit_h_4b8939.pth",
    url=f"{_SAM}/sam_vit_h_4b8939.pth",
    layout="vit_h",
    size_bytes=2_564_550_879,
    sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
)
SAM_VIT_L = PublishedFile(
    name="sam_vit_l_0b3195.pth",
    url=f"{_SAM}/sam_vit_l_0b3195.pth",
    layout="vit_l",
    size_bytes=1_249_524_607,
    sha256="3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
)
SAM_VIT_B = PublishedFile(
    name="sam_vit_b_01ec64.pth",
    url=f"{_SAM}/sam_vit_b_01ec64.pth",
    layout="vit_b",
    size_bytes=375_042_383,
    sha256="ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
)
# The checkpoint that Track Anything's own program uses (trained with BL30K besides), and XMem's default one.
XMEM_S012 = PublishedFile(name="XMem-s012.pth", url=f"{_XMEM}/XMem-s012.pth", layout="xmem")
XMEM = PublishedFile(name="XMem.pth", url=f"{_XMEM}/XMem.pth", layout="xmem")
