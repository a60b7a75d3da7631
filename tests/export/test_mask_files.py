"""Mask files as people save them: one object per id or colour, or a sentence; never an object that nobody drew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from tam_backend.errors import InvalidPromptError
from tam_backend.export import load_mask, mask_ids, read_mask_file, save_index_mask
from tam_backend.export.palette import davis_palette

SIZE_HW = (90, 120)


def disc(x: float, y: float, radius: float = 15) -> np.ndarray:
    rows, columns = np.ogrid[: SIZE_HW[0], : SIZE_HW[1]]
    return np.asarray((rows - y) ** 2 + (columns - x) ** 2 <= radius**2)


ONE, OTHER, SMALL = disc(30, 30), disc(85, 55), disc(100, 15, 1)
IDS = (ONE + 2 * OTHER).astype(np.uint8)


def painted(colours: dict[int, Any], dtype: type = np.uint8) -> np.ndarray:
    """Return an image with the two discs, and the ground as 0, in these colours."""
    channels = np.size(colours[1])
    picture = np.zeros((*SIZE_HW, channels), dtype)
    picture[...] = colours.get(0, 0)
    for number, value in ((1, ONE), (2, OTHER)):
        if number in colours:
            picture[value] = colours[number]
    return picture[..., 0] if channels == 1 else picture


def assert_shows(path: Path, **expected: np.ndarray) -> None:
    found = read_mask_file(path).objects
    assert list(found) == [int(name[1:]) for name in expected]
    for name, mask in expected.items():
        np.testing.assert_array_equal(found[int(name[1:])], mask)


def test_a_palette_tells_ids_by_its_indices(tmp_path: Path) -> None:
    save_index_mask(tmp_path / "m.png", {2: ONE, 7: OTHER})
    assert_shows(tmp_path / "m.png", _2=ONE, _7=OTHER)
    assert not load_mask(tmp_path / "m.png", 3).any(), "an object that cannot be seen"


def test_a_palette_that_only_stores_colours_goes_by_them(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([1, 0, 2], np.uint8)[IDS])  # 1 is the ground
    image.putpalette([128, 0, 0, 0, 0, 0, 0, 128, 0])
    image.save(tmp_path / "m.png")
    assert_shows(tmp_path / "m.png", _1=ONE, _2=OTHER)


@pytest.mark.parametrize("ids", [(1, 2), (3, 32), (40, 200), (255, 128), (254, 255)])
@pytest.mark.parametrize("suffix", ["png", "tif", "bmp", "webp"])
def test_grey_values_that_fill_areas_are_ids(tmp_path: Path, ids: tuple[int, int], suffix: str) -> None:
    picture = painted(dict(enumerate((0, *ids))))
    path = tmp_path / f"m.{suffix}"
    if suffix == "webp":
        Image.fromarray(picture).convert("RGB").save(path, lossless=True)
    else:
        cv2.imwrite(str(path), picture)
    masks = dict(zip(ids, (ONE, OTHER), strict=True))
    assert_shows(path, **{f"_{each}": masks[each] for each in sorted(ids)})


def test_small_ids_may_be_of_tiny_objects(tmp_path: Path) -> None:
    Image.fromarray((3 * ONE + 9 * SMALL).astype(np.uint8)).save(tmp_path / "m.png")
    assert_shows(tmp_path / "m.png", _3=ONE, _9=SMALL)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
def test_ids_may_have_16_bits_and_more(tmp_path: Path, dtype: type) -> None:
    Image.fromarray(painted({1: 5, 2: 200}, dtype)).save(tmp_path / "m.tif")
    assert_shows(tmp_path / "m.tif", _5=ONE, _200=OTHER)


def test_ids_over_255_are_refused_by_number(tmp_path: Path) -> None:
    Image.fromarray(painted({1: 24000, 2: 24001}, np.uint16)).save(tmp_path / "m.png")
    with pytest.raises(InvalidPromptError, match=r"m\.png shows object 24000; ids go from 1 to 255"):
        read_mask_file(tmp_path / "m.png")


@pytest.mark.parametrize(
    ("value", "dtype", "object_id"),
    [
        (1, np.uint8, 1),
        (6, np.uint8, 6),
        (128, np.uint8, 1),
        (255, np.uint8, 1),
        (65535, np.uint16, 1),
        (4, np.uint16, 4),
    ],
)
def test_one_grey_value_is_one_mask_of_whatever_object_is_meant(
    tmp_path: Path, value: int, dtype: type, object_id: int
) -> None:
    Image.fromarray(painted({1: value}, dtype)).save(tmp_path / "m.png")
    assert_shows(tmp_path / "m.png", **{f"_{object_id}": ONE})
    np.testing.assert_array_equal(load_mask(tmp_path / "m.png", 99), ONE)


def test_an_object_that_a_grey_id_map_does_not_hold_is_named(tmp_path: Path) -> None:
    Image.fromarray(IDS).save(tmp_path / "m.png")
    with pytest.raises(InvalidPromptError, match=r"shows no object 5\. It shows the objects 1, 2"):
        load_mask(tmp_path / "m.png", 5)


def test_the_colours_of_davis_have_their_ids(tmp_path: Path) -> None:
    davis = davis_palette()
    Image.fromarray(painted({1: davis[3], 2: davis[9]})).save(tmp_path / "m.png")
    assert_shows(tmp_path / "m.png", _3=ONE, _9=OTHER)


def test_other_colours_are_numbered_and_the_numbers_are_told(tmp_path: Path) -> None:
    Image.fromarray(painted({1: (255, 0, 10), 2: (0, 200, 255)})).save(tmp_path / "m.png")
    assert_shows(tmp_path / "m.png", _1=OTHER, _2=ONE)
    assert read_mask_file(tmp_path / "m.png").note.endswith("1 = #00c8ff, 2 = #ff000a.")


def test_ids_written_into_three_equal_channels_are_ids(tmp_path: Path) -> None:
    for dtype in (np.uint8, np.uint16):
        cv2.imwrite(str(tmp_path / "m.png"), np.dstack([IDS.astype(dtype)] * 3))
        assert_shows(tmp_path / "m.png", _1=ONE, _2=OTHER)


def test_colours_of_16_bits_are_told_apart(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "m.png"), painted({1: (0, 0, 300), 2: (0, 0, 301)}, np.uint16))
    assert_shows(tmp_path / "m.png", _1=ONE, _2=OTHER)


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (9, 80, 200)])
def test_alpha_that_varies_is_the_mask_of_one_colour(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    picture = np.zeros((*SIZE_HW, 4), np.uint8)
    picture[..., :3] = colour
    picture[..., 3] = ONE * 255
    Image.fromarray(picture).save(tmp_path / "m.png")
    assert_shows(tmp_path / "m.png", _1=ONE)


def test_opaque_colours_on_a_clear_ground_are_objects(tmp_path: Path) -> None:
    picture = painted({1: (128, 0, 0, 255), 2: (0, 128, 0, 255), 0: (0, 0, 0, 0)})
    Image.fromarray(picture).save(tmp_path / "m.png")
    assert_shows(tmp_path / "m.png", _1=ONE, _2=OTHER)
    picture[..., 3] = 255
    Image.fromarray(picture).save(tmp_path / "opaque.png")
    assert_shows(tmp_path / "opaque.png", _1=ONE, _2=OTHER)


def test_a_cut_out_is_what_is_opaque_of_it(tmp_path: Path) -> None:
    photograph = np.random.default_rng(0).integers(0, 255, (*SIZE_HW, 4), dtype=np.uint8)
    photograph[..., 3] = ONE * 255
    Image.fromarray(photograph).save(tmp_path / "m.png")
    assert_shows(tmp_path / "m.png", _1=ONE)


@pytest.mark.parametrize("how", ["smoothed grey", "smoothed colour", "soft alpha", "probabilities", "floats"])
def test_a_soft_mask_is_cut_at_half(tmp_path: Path, how: str) -> None:
    large = disc(60, 45, 35)
    soft = Image.fromarray((large * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(1.5))
    if how == "probabilities":
        soft = soft.filter(ImageFilter.GaussianBlur(9))
    values = np.asarray(soft)
    path = tmp_path / ("m.tif" if how == "floats" else "m.png")
    if how == "smoothed colour":
        soft = Image.fromarray((values[..., None] * np.array([1, 0.5, 0])).round().astype(np.uint8))
    elif how == "soft alpha":
        soft = Image.fromarray(np.dstack([values * 0 + 255] * 3 + [values]))
    elif how == "floats":
        soft = Image.fromarray((values / 255).astype(np.float32))
    soft.save(path)
    expected = values > values.max() // 2 if how != "soft alpha" else values > 127
    (mask,) = read_mask_file(path).objects.values()
    np.testing.assert_array_equal(mask, expected)


def test_a_jpeg_is_one_mask_and_says_that_it_was_cut(tmp_path: Path) -> None:
    for colour in ((255, 255, 255), (220, 40, 30)):
        Image.fromarray(painted({1: colour})).save(tmp_path / "m.jpg", quality=85)
        read = read_mask_file(tmp_path / "m.jpg")
        assert list(read.objects) == [1]
        assert np.count_nonzero(read.objects[1] ^ ONE) < 0.05 * np.count_nonzero(ONE)
        assert "JPEG" in read.note


@pytest.mark.parametrize("colours", [{1: (255, 0, 0), 2: (0, 255, 0)}, {1: (128,) * 3, 2: (255,) * 3}])
def test_a_jpeg_of_several_objects_is_refused(tmp_path: Path, colours: dict[int, Any]) -> None:
    Image.fromarray(painted(colours)).save(tmp_path / "m.jpg", quality=90)
    with pytest.raises(InvalidPromptError, match=r"m\.jpg"):
        read_mask_file(tmp_path / "m.jpg")


def test_an_id_map_whose_edges_were_smoothed_is_refused(tmp_path: Path) -> None:
    Image.fromarray(painted({1: 100, 2: 255})).filter(ImageFilter.GaussianBlur(1)).save(tmp_path / "grey.png")
    Image.fromarray(painted({1: (255, 0, 0), 2: (0, 0, 255)})).filter(ImageFilter.BoxBlur(1)).save(tmp_path / "rgb.png")
    for name in ("grey.png", "rgb.png"):
        with pytest.raises(InvalidPromptError, match=name) as refused:
            read_mask_file(tmp_path / name)
        assert "indexed PNG" in refused.value.remedy


def test_a_photograph_is_no_mask(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (*SIZE_HW, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "photo.png")
    with pytest.raises(InvalidPromptError, match="colours"):
        read_mask_file(tmp_path / "photo.png")


@pytest.mark.parametrize("suffix", ["tif", "webp", "png", "gif"])
def test_several_pages_are_no_mask_of_one_frame(tmp_path: Path, suffix: str) -> None:
    pages = [Image.fromarray(each.astype(np.uint8) * 255) for each in (ONE, OTHER, ONE)]
    pages[0].save(tmp_path / f"m.{suffix}", save_all=True, append_images=pages[1:])
    with pytest.raises(InvalidPromptError, match="3 pages"):
        mask_ids(tmp_path / f"m.{suffix}")


def test_a_mask_that_a_camera_program_turned_is_turned_back(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.ascontiguousarray(np.rot90(IDS))).save(tmp_path / "m.png", exif=exif)
    assert_shows(tmp_path / "m.png", _1=ONE, _2=OTHER)


@settings(max_examples=60, deadline=None)
@given(
    ids=st.lists(st.integers(1, 255), min_size=2, max_size=6, unique=True),
    how=st.sampled_from(["palette", "grey", "grey 16 bit", "three channels", "rgba"]),
    seed=st.integers(0, 1000),
)
def test_blocks_of_ids_come_back_however_they_were_saved(
    tmp_path_factory: pytest.TempPathFactory, ids: list[int], how: str, seed: int
) -> None:
    blocks = np.random.default_rng(seed).permutation(np.array([0, 0, *ids], np.uint8))
    values = np.kron(blocks[None], np.ones((6, 7), np.uint8))
    path = tmp_path_factory.mktemp("masks") / "m.png"
    if how == "palette":
        save_index_mask(path, {each: values == each for each in ids})
    elif how == "rgba":
        Image.fromarray(davis_palette()[values]).convert("RGBA").save(path)
    else:
        values = values.astype(np.uint16) if how == "grey 16 bit" else values
        Image.fromarray(np.dstack([values] * 3) if how == "three channels" else values).save(path)
    assert mask_ids(path) == tuple(sorted(ids))
    for each in ids:
        np.testing.assert_array_equal(load_mask(path, each), values == each)
