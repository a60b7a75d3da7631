"""The MIME type of a media file, told from its first bytes: names lie, and tables of suffixes differ by machine."""

from __future__ import annotations

from pathlib import Path

UNKNOWN = "application/octet-stream"

_BEGINNINGS = (
    (b"\x1aE\xdf\xa3", "video/x-matroska"),
    (b"OggS", "video/ogg"),
    (b"FLV\x01", "video/x-flv"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "video/x-ms-asf"),
    (b"\x00\x00\x01\xba", "video/mpeg"),
    (b"\x00\x00\x01\xb3", "video/mpeg"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
)
_TS_PACKET = 188
_IMAGE_BRANDS = {b"avif": "image/avif", b"avis": "image/avif", b"heic": "image/heic", b"mif1": "image/heif"}


def mime_type(path: Path) -> str:
    """Return the type of a video or an image, such as "video/mp4"; `UNKNOWN` where its beginning says nothing.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(4096)
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return _of_mp4(head)
    if head.startswith(b"RIFF"):
        return {b"AVI ": "video/x-msvideo", b"WEBP": "image/webp"}.get(head[8:12], UNKNOWN)
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/apng" if b"acTL" in head[:1024] else "image/png"
    if head.startswith(b"\x1aE\xdf\xa3") and b"webm" in head[:64]:
        return "video/webm"
    # Blu-ray puts a time of four bytes before each packet.
    if any(head[at :: _TS_PACKET + at][:3] == b"GGG" for at in (0, 4)):
        return "video/mp2t"
    return next((kind for beginning, kind in _BEGINNINGS if head.startswith(beginning)), UNKNOWN)


def _of_mp4(head: bytes) -> str:
    brand = head[8:12]
    if head[4:8] != b"ftyp" or brand == b"qt  ":
        return "video/quicktime"  # older than the brands
    return "video/3gpp" if brand.startswith((b"3gp", b"3g2")) else _IMAGE_BRANDS.get(brand, "video/mp4")
