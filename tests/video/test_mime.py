"""The MIME types of files, told from what is in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from video_making import make_video

from tam_backend.video.mime import mime_type

VIDEOS: dict[str, tuple[dict[str, Any], str]] = {
    "a.mp4": ({}, "video/mp4"),
    "a.mov": ({}, "video/quicktime"),
    "a.mkv": ({}, "video/x-matroska"),
    "a.webm": ({"codec": "libvpx"}, "video/webm"),
    "a.avi": ({"codec": "mpeg4"}, "video/x-msvideo"),
    "a.ts": ({}, "video/mp2t"),
    "a.m2ts": ({"codec": "mpeg2video"}, "video/mp2t"),
    "a.mpg": ({"codec": "mpeg2video"}, "video/mpeg"),
    "a.flv": ({"codec": "flv"}, "video/x-flv"),
    "a.3gp": ({"codec": "h263", "size_hw": (96, 128)}, "video/3gpp"),
}


@pytest.mark.parametrize("name", VIDEOS)
def test_a_video_has_the_type_of_its_container(tmp_path: Path, name: str) -> None:
    options, expected = VIDEOS[name]
    path = make_video(tmp_path / name, frames=4, **options)
    assert mime_type(path) == expected
    assert mime_type(path.rename(tmp_path / "without a suffix")) == expected


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.gif", "a.bmp", "a.tif", "a.avif"])
def test_an_image_has_its_own(tmp_path: Path, name: str) -> None:
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / name)
    kind = {"jpg": "jpeg", "tif": "tiff"}.get(name[2:], name[2:])
    assert mime_type(tmp_path / name) == f"image/{kind}"


@pytest.mark.parametrize("content", [b"", b"x", b"nothing known at all" * 20])
def test_what_is_unknown_is_called_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    assert mime_type(tmp_path / "a.mp4") == "application/octet-stream"
