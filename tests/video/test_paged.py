"""Images of several pages, and images of more than 8 bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from tam_backend import open_video
from tam_backend.errors import FrameOutOfRangeError, UnreadableMediaError
from tam_backend.types import VideoSource

SHADES = [20 * number for number in range(12)]


def page(shade: int, size_hw: tuple[int, int] = (40, 60)) -> Image.Image:
    return Image.fromarray(np.full((*size_hw, 3), shade, np.uint8))


def save_pages(path: Path, pages: list[Any], **options: Any) -> Path:
    pages[0].save(path, save_all=True, append_images=pages[1:], **options)
    return path


@pytest.mark.parametrize("name", ["stack.tif", "stack.TIFF", "moving.webp", "moving.png", "moving.gif", "moving.avif"])
def test_every_page_is_a_frame_in_whatever_order_they_are_read(tmp_path: Path, name: str) -> None:
    options = {} if "stack" in name else {"duration": 40}
    save_pages(tmp_path / name, [page(shade) for shade in SHADES], **options)
    with open_video(tmp_path / name) as video:
        assert isinstance(video, VideoSource)
        assert (len(video), video.size_hw, video.name) == (12, (40, 60), name)
        for index in (11, 3, 4, 0, 7, 0, 11):
            assert abs(int(video[index][0, 0, 0]) - SHADES[index]) <= 3
            assert video[index].shape == (40, 60, 3) and video[index].dtype == np.uint8
        assert video.fps == (None if "stack" in name else pytest.approx(25))
        with pytest.raises(FrameOutOfRangeError):
            video[12]


def test_the_picture_for_those_who_know_no_animation_is_no_frame_of_it(tmp_path: Path) -> None:
    save_pages(tmp_path / "a.png", [page(shade) for shade in (255, 10, 20)], default_image=True, duration=40)
    with open_video(tmp_path / "a.png") as video:
        assert [int(frame[0, 0, 0]) for frame in video] == [10, 20]


def test_previews_behind_a_picture_are_no_frames(tmp_path: Path) -> None:
    save_pages(tmp_path / "phone.jpg", [page(100), page(50, (20, 30))], format="MPO")
    preview = page(50, (20, 30))
    preview.encoderinfo = {"tiffinfo": {254: 1}}
    with TiffImagePlugin.AppendingTiffWriter(str(tmp_path / "scan.tif"), new=True) as file:
        page(100).save(file, format="TIFF")
        file.newFrame()
        preview.save(file, format="TIFF", tiffinfo={254: 1})
    for name in ("phone.jpg", "scan.tif"):
        with open_video(tmp_path / name) as video:
            assert [int(frame[0, 0, 0]) for frame in video] == [pytest.approx(100, abs=2)], name


def test_in_a_list_of_frames_an_animation_is_refused_not_cut_to_its_first_page(tmp_path: Path) -> None:
    page(10).save(tmp_path / "1.png")
    save_pages(tmp_path / "2.png", [page(20), page(30)], duration=40)
    with open_video(tmp_path) as video:
        assert int(video[0][0, 0, 0]) == 10
        with pytest.raises(UnreadableMediaError, match=r"2\.png has 2 pages"):
            video[1]


def test_a_page_of_another_size_is_named(tmp_path: Path) -> None:
    save_pages(tmp_path / "s.tif", [page(10), page(20, (30, 60)), page(30)])
    with open_video(tmp_path / "s.tif") as video:
        assert int(video[2][0, 0, 0]) == 30
        with pytest.raises(UnreadableMediaError, match=r"Page 1 of s\.tif is 60 x 30 pixels"):
            video[1]


def test_a_damaged_page_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    path = save_pages(tmp_path / "s.tif", [page(shade, (200, 300)) for shade in (10, 20, 30)], compression="tiff_lzw")
    content = bytearray(path.read_bytes())
    with Image.open(path) as image:
        image.seek(1)
        start, size = image.tag_v2[273][0], image.tag_v2[279][0]
    content[start : start + size] = b"\xff" * size
    path.write_bytes(content)
    with open_video(path) as video:
        assert [int(video[index][0, 0, 0]) for index in (0, 2)] == [10, 30]
        with pytest.raises(UnreadableMediaError, match=r"Page 1 of s\.tif is damaged"):
            video[1]
        assert int(video[2][0, 0, 0]) == 30


RAMP = np.linspace(0, 1, 60 * 40).reshape(40, 60)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("name", ["deep.png", "deep.tif"])
def test_deep_pictures_show_the_same_however_many_bits_are_in_use(tmp_path: Path, bits: int, name: str) -> None:
    cv2.imwrite(str(tmp_path / name), (RAMP * (2**bits - 1)).round().astype(np.uint16))
    with open_video(tmp_path / name) as video:
        np.testing.assert_allclose(video[0][..., 1], RAMP * 255, atol=1)


@pytest.mark.parametrize(("dtype", "top"), [(np.float32, 1), (np.float32, 900), (np.uint16, 4095)])
def test_stacks_and_fractions_are_scaled_too(tmp_path: Path, dtype: type, top: int) -> None:
    pages = [Image.fromarray((RAMP * top).astype(dtype)) for _ in range(3)]
    save_pages(tmp_path / "s.tif", pages)
    pages[0].save(tmp_path / "one.tif")
    for name in ("s.tif", "one.tif"):
        with open_video(tmp_path / name) as video:
            np.testing.assert_allclose(video[0][..., 1], RAMP * 255, atol=1)


def test_a_dark_frame_among_bright_ones_stays_dark(tmp_path: Path) -> None:
    shades = [65535, 300, 40000]
    frames = [np.full((40, 60), shade, np.uint16) for shade in shades]
    for number, frame in enumerate(frames):
        cv2.imwrite(str(tmp_path / f"{number}.png"), frame)
    save_pages(tmp_path / "stack.tif", [Image.fromarray(frame) for frame in frames])
    (tmp_path / "stack").mkdir()
    (tmp_path / "stack.tif").rename(tmp_path / "stack" / "s.tif")
    for path in (tmp_path, tmp_path / "stack" / "s.tif"):
        with open_video(path) as video:
            assert [int(frame[0, 0, 0]) for frame in video] == [255, 1, 156]
