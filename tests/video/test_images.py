"""Folders, lists and single images as videos."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tam_backend import open_video
from tam_backend.errors import (
    EmptyVideoError,
    FrameOutOfRangeError,
    MediaNotFoundError,
    MediaTooLargeError,
    UnreadableMediaError,
)
from tam_backend.types import VideoSource


def gradient(height: int = 20, width: int = 30) -> np.ndarray:
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 8, columns * 8, rows * 0 + 40], axis=-1).astype(np.uint8)


def save(path: Path, shade: int = 0, size_wh: tuple[int, int] = (30, 20)) -> Path:
    Image.new("RGB", size_wh, (shade, 0, 0)).save(path)
    return path


def test_a_folder_is_read_in_natural_order(tmp_path: Path) -> None:
    for shade, name in enumerate(["frame_1.png", "frame_2.png", "Frame_03.PNG", "frame_10.png", "frame_20b.png"]):
        save(tmp_path / name, shade)
    (tmp_path / "notes.txt").write_text("not a frame")
    (tmp_path / "._frame_1.png").write_bytes(b"macOS leaves these")
    (tmp_path / "more.png").mkdir()
    with open_video(tmp_path) as video:
        assert isinstance(video, VideoSource)
        assert [int(frame[0, 0, 0]) for frame in video] == [0, 1, 2, 3, 4]
        assert (video.name, video.size_hw, video.fps, len(video)) == (tmp_path.name, (20, 30), None, 5)
        assert "5 frames 30x20" in repr(video)
        with pytest.raises(FrameOutOfRangeError, match="numbered 0 to 4"):
            video[5]
        with pytest.raises(FrameOutOfRangeError):
            video[-1]


def test_one_image_is_a_video_of_one_frame(tmp_path: Path) -> None:
    with open_video(str(save(tmp_path / "still.bmp", 7))) as video:
        assert (len(video), video.name, video[0].tolist()[0][0]) == (1, "still.bmp", [7, 0, 0])


def test_a_list_of_images_keeps_its_order(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{shade}.png", shade) for shade in (5, 3, 9)]
    with open_video(paths) as video:
        assert [int(frame[0, 0, 0]) for frame in video] == [5, 3, 9]


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "png", "webp", "tif", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_orientation_is_honoured_by_every_format(tmp_path: Path, suffix: str, orientation: int) -> None:
    upright = gradient()
    # What a camera stores so that the orientation turns it upright again (EXIF 2.32, tag 0x0112).
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned.{suffix}"
    options = {"jpg": {"quality": 100}, "jpeg": {"quality": 100}, "webp": {"lossless": True}}.get(suffix, {})
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif, **options)
    with open_video(path) as video:
        assert video.size_hw == upright.shape[:2]
        assert video[0].flags.c_contiguous
        assert np.abs(video[0].astype(int) - upright).mean() < (8 if suffix.startswith("j") else 0.01)


def test_grey_16_bit_palette_and_alpha_images_become_rgb(tmp_path: Path) -> None:
    grey = gradient()[..., 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.fromarray(np.dstack([grey] * 3 + [grey * 0])).save(tmp_path / "alpha.png")
    Image.fromarray(np.dstack([grey] * 3)).quantize(256, dither=Image.Dither.NONE).save(tmp_path / "palette.png")
    Image.fromarray(grey > 80).save(tmp_path / "bits.png")
    for name in ("grey", "deep", "alpha", "palette"):
        with open_video(tmp_path / f"{name}.png") as video:
            assert video[0].dtype == np.uint8
            np.testing.assert_allclose(video[0].astype(int), np.dstack([grey] * 3), atol=1, err_msg=name)
    with open_video(tmp_path / "bits.png") as video:
        np.testing.assert_array_equal(video[0][..., 1] > 0, grey > 80)


def test_an_image_of_another_size_is_named_when_it_is_read_and_the_others_are_frames(tmp_path: Path) -> None:
    save(tmp_path / "0 cover.png", size_wh=(31, 20))
    save(tmp_path / "1.png", 10)
    save(tmp_path / "2.png", 20)
    with open_video(tmp_path) as video:
        assert (video.size_hw, len(video)) == ((20, 30), 3)
        assert [int(video[frame][0, 0, 0]) for frame in (1, 2)] == [10, 20]
        with pytest.raises(UnreadableMediaError, match=r"0 cover\.png is 31 x 20 pixels, but 1\.png is 30 x 20"):
            video[0]


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n" + bytes(60)])
def test_a_file_that_is_no_image_keeps_its_number_among_others(tmp_path: Path, content: bytes) -> None:
    for shade in (1, 3):
        save(tmp_path / f"{shade}.png", shade)
    (tmp_path / "2.png").write_bytes(content)
    with open_video(tmp_path) as video:
        assert (len(video), video[2][0, 0, 0]) == (3, 3)
        with pytest.raises(UnreadableMediaError, match=r"2\.png"):
            video[1]


def test_an_image_that_changes_later_is_named(tmp_path: Path) -> None:
    paths = [save(tmp_path / "1.png"), save(tmp_path / "2.png")]
    with open_video(tmp_path) as video:
        save(paths[1], size_wh=(5, 5))
        with pytest.raises(UnreadableMediaError, match=r"2\.png is 5 x 5"):
            video[1]
        paths[1].unlink()
        with pytest.raises(MediaNotFoundError, match=r"2\.png"):
            video[1]


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n" + bytes(60)])
def test_a_file_that_is_no_image_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.png").write_bytes(content)
    with pytest.raises(UnreadableMediaError, match=r"broken\.png"):
        open_video(tmp_path)


def test_an_image_whose_pixels_are_damaged_is_named_when_it_is_read(tmp_path: Path) -> None:
    path = save(tmp_path / "cut.png", size_wh=(300, 200))
    path.write_bytes(path.read_bytes()[:60])
    with open_video(tmp_path) as video, pytest.raises(UnreadableMediaError, match=r"cut\.png"):
        video[0]


def test_nothing_to_show_is_an_empty_video(tmp_path: Path) -> None:
    with pytest.raises(EmptyVideoError, match=tmp_path.name):
        open_video(tmp_path)
    with pytest.raises(EmptyVideoError):
        open_video([])


def test_a_missing_image_of_a_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(MediaNotFoundError, match=r"gone\.png"):
        open_video([save(tmp_path / "1.png"), tmp_path / "gone.png"])


@pytest.mark.parametrize("side", [9000, 60000])
def test_a_decompression_bomb_is_refused_from_its_header(tmp_path: Path, side: int) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    with pytest.raises(MediaTooLargeError, match=r"bomb\.png"):
        open_video(path)
