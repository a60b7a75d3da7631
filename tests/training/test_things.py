"""Whole things for training: what a teacher found counts where people agree, and cut-outs come without their ground."""

from __future__ import annotations

import hashlib
import json
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from training.clips import ClipMaker
from training.layers import SegmentPicker
from training.segments import AnnotatedImage, annotate
from training.stills import StillMaker
from training.teacher import foreground, model_bytes
from training.things import load_cutouts, taught


@pytest.fixture
def photograph() -> AnnotatedImage:
    """A disc that people cut into two halves, on a textured ground."""
    image = cv2.resize(np.random.default_rng(0).integers(0, 255, (12, 16, 3), dtype=np.uint8), (160, 120))
    disc = np.zeros((120, 160), np.uint8)
    cv2.circle(disc, (60, 60), 30, 1, -1)
    image[disc > 0] = (250, 240, 20)
    halves = np.where(disc > 0, 2 + (np.arange(160) > 60)[None], 1).astype(np.uint8)
    return annotate("disc", image, [halves, halves])


def _write_foreground(
    folder: Path, centre: tuple[int, int] = (60, 60), radius: int = 30, value: int = 250
) -> NDArray[np.uint8]:
    """Say that the teacher found a disc in the photograph, by default the one that is there."""
    opacity = np.zeros((120, 160), np.uint8)
    cv2.circle(opacity, centre, radius, value, -1)
    cv2.imwrite(str(folder / "disc.png"), opacity)
    return opacity


def test_what_the_teacher_found_whole_is_a_thing(photograph: AnnotatedImage, tmp_path: Path) -> None:
    opacity = _write_foreground(tmp_path)
    (image,) = taught([photograph], tmp_path)
    (thing,) = [segment for segment in image.segments if segment.taught]
    assert thing.agreement > 0.95
    assert np.array_equal(image.mask(thing) > 0, opacity > 127)
    assert len(image.segments) == len(photograph.segments) + 1


@pytest.mark.parametrize(
    ("centre", "radius", "value"),
    [((130, 60), 25, 250), ((60, 60), 30, 180), ((60, 60), 2, 250)],
    ids=["people saw no thing there", "the teacher was in doubt", "tiny"],
)
def test_what_nobody_agrees_with_is_left_out(
    photograph: AnnotatedImage, tmp_path: Path, centre: tuple[int, int], radius: int, value: int
) -> None:
    _write_foreground(tmp_path, centre, radius, value)
    (image,) = taught([photograph], tmp_path)
    assert not any(segment.taught for segment in image.segments)


def test_a_photograph_that_the_teacher_never_saw_is_named(photograph: AnnotatedImage, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"disc\.png is missing"):
        taught([photograph], tmp_path)


def test_taught_things_are_drawn_half_of_the_time(photograph: AnnotatedImage, tmp_path: Path) -> None:
    _write_foreground(tmp_path, value=255)
    picker = SegmentPicker(taught([photograph], tmp_path), max_border=1.0, area_range=(0.0, 1.0))
    rng = np.random.default_rng(1)
    drawn = [picker.segment(rng, 0).taught for _ in range(400)]
    assert 0.4 < np.mean(drawn) < 0.6


@pytest.fixture
def stamps(tmp_path: Path) -> Path:
    """A red disc on nothing in a folder below, and pictures of no use."""
    disc = np.zeros((140, 140, 4), np.uint8)
    cv2.circle(disc, (70, 70), 50, (0, 0, 255, 255), -1)
    (tmp_path / "toys").mkdir()
    cv2.imwrite(str(tmp_path / "toys" / "ball.png"), disc)
    cv2.imwrite(str(tmp_path / "small.png"), disc[::4, ::4])
    cv2.imwrite(str(tmp_path / "opaque.png"), disc[..., :3])
    cv2.imwrite(str(tmp_path / "plate.png"), np.full((140, 140, 4), 255, np.uint8))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    return tmp_path


def test_cutouts_are_pictures_of_things_on_nothing(stamps: Path) -> None:
    (ball,) = load_cutouts(stamps)
    assert ball.name.endswith("ball.png")
    (segment,) = ball.segments
    mask = ball.mask(segment) > 0
    assert (ball.image[mask] == (255, 0, 0)).all()  # RGB
    assert segment.border == 0


def test_a_cutouts_colours_go_on_beyond_its_edge(stamps: Path) -> None:
    (ball,) = load_cutouts(stamps)
    assert (ball.image == (255, 0, 0)).all()


def test_cutouts_are_pasted_into_clips_and_stills(photograph: AnnotatedImage, stamps: Path) -> None:
    cutouts = load_cutouts(stamps)
    plain = list(islice(ClipMaker([photograph], 64, 2, 5), 6))
    pasted = list(islice(ClipMaker([photograph], 64, 2, 5, cutouts=cutouts), 6))
    assert any(not np.array_equal(a.frames, b.frames) for a, b in zip(plain, pasted, strict=True))
    stills = list(islice(StillMaker([photograph], 64, 3, cutouts=cutouts), 8))
    assert all(mask.any() for _, mask in stills)


def test_the_teacher_sees_a_normalised_square_and_answers_in_the_photographs_size() -> None:
    seen: list[NDArray[np.float32]] = []

    def network(picture: NDArray[np.float32]) -> NDArray[np.float32]:
        seen.append(picture)
        return (picture[:, :1] > 0).astype(np.float32)

    image = np.zeros((40, 60, 3), np.uint8)
    image[:, 30:, 0] = 255
    found = foreground(image, network)
    assert seen[0].shape == (1, 3, 1024, 1024)
    assert (float(seen[0].min()), float(seen[0].max())) == (-0.5, (255 - 128) / 256)
    assert found.shape == (40, 60)
    assert (found[:, :29] == 0).all()
    assert (found[:, 31:] == 255).all()


def test_the_teachers_pieces_are_joined_in_order_and_counted(tmp_path: Path) -> None:
    names = []
    for piece in (b"first ", b"second"):
        names.append(hashlib.sha256(piece).hexdigest())
        (tmp_path / names[-1]).write_bytes(piece)

    def describe(size: int) -> None:
        chunks = [{"hash": name} for name in names]
        (tmp_path / "resources.json").write_text(json.dumps({"/models/medium": {"size": size, "chunks": chunks}}))

    describe(12)
    assert model_bytes(tmp_path) == b"first second"
    describe(13)
    with pytest.raises(ValueError, match="have 12 bytes together, not 13"):
        model_bytes(tmp_path)
