"""Masks on disk: indexed PNGs, overlay videos, contact sheets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from PIL import Image

from tam_backend import open_video
from tam_backend.errors import EmptyVideoError, InvalidInputError, InvalidPromptError
from tam_backend.export import (
    OverlayWriter,
    contact_sheet,
    load_mask,
    mask_ids,
    object_colour,
    overlay,
    save_index_mask,
)
from tam_backend.types import timeline_of

# The first colours of DAVIS's own annotation files.
DAVIS_COLOURS = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128)]


def square(y: int, x: int, size_hw: tuple[int, int] = (40, 60), side: int = 10) -> np.ndarray:
    mask = np.zeros(size_hw, bool)
    mask[y : y + side, x : x + side] = True
    return mask


def test_an_index_mask_holds_ids_and_the_davis_palette(tmp_path: Path) -> None:
    path = tmp_path / "00000.png"
    save_index_mask(path, {1: square(0, 0), 6: square(20, 30), 2: square(0, 0, side=0)})
    with Image.open(path) as image:
        assert (image.mode, image.size) == ("P", (60, 40))
        pixels = np.asarray(image)
        palette = image.getpalette()
    assert (pixels[5, 5], pixels[25, 35], pixels[39, 0]) == (1, 6, 0)
    assert palette is not None
    assert [tuple(palette[3 * i : 3 * i + 3]) for i in range(7)] == DAVIS_COLOURS
    assert tuple(palette[3 * 255 :]) == (224, 224, 192)


@settings(max_examples=30, deadline=None)
@given(masks=st.dictionaries(st.integers(1, 255), npst.arrays(bool, (7, 9)), min_size=1, max_size=4))
def test_written_masks_come_back_with_higher_ids_on_top(tmp_path_factory: pytest.TempPathFactory, masks: dict) -> None:
    path = tmp_path_factory.mktemp("masks") / "mask.png"
    save_index_mask(path, masks)
    for object_id, mask in masks.items():
        above = [masks[other] for other in masks if other > object_id]
        visible = mask & ~np.any(above, axis=0) if above else mask
        np.testing.assert_array_equal(load_mask(path, object_id), visible)
    assert mask_ids(path) == tuple(i for i in sorted(masks) if load_mask(path, i).any())


def test_an_id_above_a_byte_is_refused(tmp_path: Path) -> None:
    for object_id in (0, 256):
        with pytest.raises(InvalidInputError, match=f"{object_id} does not fit"):
            save_index_mask(tmp_path / "mask.png", {object_id: square(0, 0)})


def test_masks_that_differ_in_size_or_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="differ in size"):
        save_index_mask(tmp_path / "mask.png", {1: square(0, 0), 2: square(0, 0, (41, 60))})
    with pytest.raises(InvalidInputError, match="no masks"):
        save_index_mask(tmp_path / "mask.png", {})


@pytest.mark.parametrize("mode", ["L", "1", "RGB", "RGBA", "LA", "I;16"])
def test_the_non_zero_pixels_of_a_plain_image_are_the_mask(tmp_path: Path, mode: str) -> None:
    expected = square(3, 4)
    value = {"L": 1, "1": 255, "RGB": (0, 0, 1), "RGBA": (0, 9, 0, 255), "LA": (7, 255), "I;16": 256}[mode]
    image = Image.new(mode, (60, 40), tuple([0] * 3 + [255]) if mode == "RGBA" else (0, 255) if mode == "LA" else 0)
    for y, x in zip(*np.nonzero(expected), strict=True):
        image.putpixel((int(x), int(y)), value)
    image.save(tmp_path / "mask.png")
    np.testing.assert_array_equal(load_mask(tmp_path / "mask.png", 5), expected)
    assert mask_ids(tmp_path / "mask.png") == (1,)


def test_transparent_pixels_are_not_of_the_mask(tmp_path: Path) -> None:
    pixels = np.full((40, 60, 4), 255, np.uint8)
    pixels[..., 3] = square(3, 4) * 255
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(load_mask(tmp_path / "mask.png", 1), square(3, 4))


def test_in_an_indexed_file_a_transparent_colour_still_means_its_object(tmp_path: Path) -> None:
    save_index_mask(tmp_path / "opaque.png", {1: square(3, 4)})
    with Image.open(tmp_path / "opaque.png") as image:
        image.save(tmp_path / "mask.png", transparency=1)
    np.testing.assert_array_equal(load_mask(tmp_path / "mask.png", 1), square(3, 4))


def test_a_black_image_has_no_ids(tmp_path: Path) -> None:
    Image.new("L", (5, 5)).save(tmp_path / "black.png")
    assert mask_ids(tmp_path / "black.png") == ()


def test_a_mask_file_that_is_missing_or_broken_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    for name in ("broken.png", "gone.png"):
        with pytest.raises(InvalidPromptError, match=name):
            load_mask(tmp_path / name, 1)


@pytest.mark.parametrize("size_hw", [(120, 160), (121, 161)])
def test_an_overlay_video_shows_the_masks_in_their_colours(tmp_path: Path, size_hw: tuple[int, int]) -> None:
    path = tmp_path / "overlay.mp4"
    frame = np.full((*size_hw, 3), 90, np.uint8)
    mask = square(40, 50, size_hw, side=50)
    with OverlayWriter(path, size_hw, 30000 / 1001) as writer:
        for _ in range(5):
            writer.write(frame, {1: mask, 2: np.zeros(size_hw, bool)}, {1: "dog"})
    assert (frame == 90).all(), "the caller's frame stays as it was"
    with open_video(path) as video:
        assert len(video) == 5
        assert video.fps == pytest.approx(29.97, abs=0.001)
        assert video.size_hw == (size_hw[0] + size_hw[0] % 2, size_hw[1] + size_hw[1] % 2)
        red, green, blue = video[4][70, 75].astype(int)
        assert red > green + 40 and red > blue + 40, "object 1 is red in the DAVIS palette"
        assert np.abs(video[4][-3:, -3:].astype(int) - 90).max() < 12, "nothing is painted outside"


@pytest.mark.parametrize("times_s", [[0.5, 0.54, 0.58, 1.4, 3.0], [index * 1001 / 30000 for index in (0, 1, 2, 4, 5)]])
def test_an_overlay_shows_each_frame_at_its_own_time(tmp_path: Path, times_s: list[float]) -> None:
    path = tmp_path / "overlay.mp4"
    with OverlayWriter(path, (48, 64), 30000 / 1001) as writer:
        for index, at_s in enumerate(times_s):
            writer.write(np.full((48, 64, 3), 40 * index, np.uint8), {}, at_s=at_s)
    with open_video(path) as video:
        timeline = timeline_of(video)
        assert timeline is not None
        np.testing.assert_allclose(timeline.starts_s, times_s, atol=0.001)


def test_an_overlay_frame_of_another_size_is_refused_and_the_file_removed(tmp_path: Path) -> None:
    path = tmp_path / "overlay.mp4"
    with pytest.raises(InvalidInputError, match="shape"), OverlayWriter(path, (40, 60), 10) as writer:
        writer.write(np.zeros((42, 60, 3), np.uint8), {})
    assert not path.exists()


def test_an_overlay_without_frames_or_rate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EmptyVideoError, match=r"overlay\.mp4"), OverlayWriter(tmp_path / "overlay.mp4", (40, 60), 10):
        pass
    assert not (tmp_path / "overlay.mp4").exists()
    with pytest.raises(InvalidInputError, match="frames per second"):
        OverlayWriter(tmp_path / "overlay.mp4", (40, 60), 0)


def test_a_contact_sheet_chooses_frames_evenly_and_paints_them(tmp_path: Path) -> None:
    shades = []

    def frames():  # type: ignore[no-untyped-def]
        for number in range(250):
            yield (
                number,
                np.full((40, 60, 3), number, np.uint8),
                {1: square(10, 10) if number else square(0, 0, side=0)},
            )

    contact_sheet(frames(), tmp_path / "sheet.png", 3, rows=2, thumbnail_width=60, labels={1: "dog"})
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    gap, cell_w, cell_h = 4, 64, 58
    assert sheet.shape == (2 * cell_h + gap, 3 * cell_w + gap, 3)
    for row in range(2):
        for column in range(3):
            picture = sheet[gap + row * cell_h :, gap + column * cell_w :]
            shades.append(int(picture[35, 55, 0]))
            assert row == column == 0 or (picture[15, 15] != picture[35, 55]).any(), "the mask is painted"
    assert shades[0] == 0 and shades[-1] >= 240
    assert np.ptp(np.diff(shades)) <= 16, f"evenly spread: {shades}"


def test_a_contact_sheet_of_few_frames_has_few_pictures(tmp_path: Path) -> None:
    frame = np.zeros((40, 60, 3), np.uint8)
    contact_sheet([(7, frame, {})], tmp_path / "sheet.png", 4, thumbnail_width=60)
    assert Image.open(tmp_path / "sheet.png").size == (68, 62)
    with pytest.raises(EmptyVideoError):
        contact_sheet([], tmp_path / "sheet.png", 4)


def test_overlay_shows_each_object_in_its_colour_and_leaves_the_rest() -> None:
    frame = np.full((60, 80, 3), 96, np.uint8)
    masks = {each: np.zeros((60, 80), bool) for each in (1, 2)}
    masks[1][10:30, 10:30] = masks[2][10:30, 50:70] = True
    drawn = overlay(frame, masks).astype(int)
    assert (drawn[40:] == 96).all()
    for object_id, mask in masks.items():
        colour = np.array([int(object_colour(object_id)[at : at + 2], 16) for at in (1, 3, 5)])
        inside = drawn[20, int(np.flatnonzero(mask[20])[10])]
        assert np.abs(inside - (0.45 * colour + 0.55 * 96)).max() <= 2
    assert (frame == 96).all()


def test_overlay_is_scaled_down_and_never_up() -> None:
    frame = np.full((60, 80, 3), 96, np.uint8)
    assert overlay(frame, {}, width=40).shape == (30, 40, 3)
    assert overlay(frame, {}, width=400).shape == frame.shape


def test_labels_of_any_script_are_written_on_the_overlay() -> None:
    frame = np.full((240, 320, 3), 96, np.uint8)
    masks = {1: square(100, 100, (240, 320), side=60)}
    pictures = [overlay(frame, masks, {1: label}).astype(int) for label in ("кот", "дым", "猫", "犬")]
    for number, picture in enumerate(pictures):
        for other in pictures[:number]:
            assert (np.abs(picture - other).max(axis=2) > 60).sum() > 10


def test_labels_stay_on_the_picture_and_off_each_other() -> None:
    frame = np.full((240, 320, 3), 96, np.uint8)
    masks = {each: square(2, 250, (240, 320), side=60) for each in (1, 2, 3)}
    together = overlay(frame, masks, dict.fromkeys(masks, "a long label"))
    for each in masks:
        red, green, blue = (int(object_colour(each)[at : at + 2], 16) for at in (1, 3, 5))
        tag = (together == (red, green, blue)).all(-1)
        assert tag.sum() > 500, f"the label of object {each} is seen"
