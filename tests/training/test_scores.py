"""J and F against cases computed by hand; clips on disk as the benchmarks read them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from benchmarks.baselines import repeat_first, warp_by_flow
from benchmarks.clips import find_clips
from benchmarks.quality import baseline_scores
from benchmarks.scores import boundary, boundary_accuracy, region_similarity, score
from benchmarks.tables import tracking_rows
from tam_backend.adaptation.simulated_clicks import Click, next_click


def square(left: int, top: int, side: int, canvas: int = 100) -> np.ndarray:
    mask = np.zeros((canvas, canvas), bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_region_similarity_of_half_overlapping_squares_is_a_third() -> None:
    assert region_similarity(square(10, 10, 20), square(20, 10, 20)) == pytest.approx(1 / 3)


def test_two_empty_masks_agree_and_one_empty_mask_does_not() -> None:
    nothing, something = np.zeros((40, 40), bool), square(5, 5, 10, 40)
    assert score(nothing, nothing) == (1.0, 1.0)
    assert score(something, nothing) == (0.0, 0.0)
    assert score(nothing, something) == (0.0, 0.0)


def test_boundary_is_one_pixel_wide_and_not_on_the_rim_of_the_image() -> None:
    # Marked are the 10 + 10 + 1 pixels left of, above and diagonally before the square, and the 19 at its other sides.
    assert np.count_nonzero(boundary(square(20, 20, 10))) == 40
    assert not boundary(np.ones((30, 30), bool)).any()


def test_boundary_within_tolerance_counts_as_found() -> None:
    # The diagonal of 100 x 100 is 141.4; 0.8 % of it is 1.13, rounded up to 2 pixels.
    truth = square(30, 30, 30)
    assert boundary_accuracy(square(32, 30, 30), truth) == pytest.approx(1.0)
    assert boundary_accuracy(square(30, 30, 30), truth, tolerance=0.0) == pytest.approx(1.0)
    assert 0 < boundary_accuracy(square(35, 30, 30), truth) < 1


def test_boundary_far_off_scores_nothing() -> None:
    assert boundary_accuracy(square(5, 5, 10), square(70, 70, 10)) == 0.0


def test_boundary_accuracy_is_the_harmonic_mean_of_precision_and_recall() -> None:
    """A second square that is not there halves precision and leaves recall: F = 2 * 0.5 / 1.5."""
    truth = square(10, 10, 20)
    assert boundary_accuracy(truth | square(60, 60, 20), truth) == pytest.approx(2 / 3, abs=0.01)


def test_click_goes_to_the_middle_of_the_largest_error() -> None:
    truth = square(20, 30, 21)
    assert next_click(truth, np.zeros_like(truth)) == Click(30, 40, True)
    spill = truth | square(60, 60, 31)
    assert next_click(truth, spill) == Click(75, 75, False)
    assert next_click(truth, truth) is None


def test_careless_click_still_lies_in_the_error() -> None:
    truth, rng = square(20, 30, 21), np.random.default_rng(0)
    for _ in range(20):
        click = next_click(truth, np.zeros_like(truth), rng)
        assert click is not None
        assert truth[click.y, click.x]


@pytest.fixture
def clip_folder(tmp_path: Path) -> Path:
    """Six frames of a square that moves 4 pixels a frame; only object 2 is drawn on frame 2, object 1 elsewhere."""
    folder = tmp_path / "clip"
    (folder / "JPEGImages").mkdir(parents=True)
    (folder / "Annotations").mkdir()
    rng = np.random.default_rng(0)
    ground = cv2.resize(rng.integers(0, 120, (20, 20, 3), dtype=np.uint8), (100, 100))
    skin = cv2.resize(rng.integers(100, 255, (8, 8, 3), dtype=np.uint8), (30, 30))
    for index in range(6):
        frame = ground.copy()
        frame[30:60, 10 + 4 * index : 40 + 4 * index] = skin
        cv2.imwrite(str(folder / "JPEGImages" / f"frame_{index:04d}.jpg"), frame, [cv2.IMWRITE_JPEG_QUALITY, 98])
        ids = np.zeros((100, 100), np.uint8)
        ids[30:60, 10 + 4 * index : 40 + 4 * index] = 1
        if index == 2:
            ids[:] = 0
            ids[80:95, 80:95] = 2
        if index in (0, 1, 2, 4, 5):
            palette = Image.fromarray(ids, "P")
            palette.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
            palette.save(folder / "Annotations" / f"frame_{index:04d}.png")
    return folder


def test_clip_knows_where_objects_start_and_which_frames_are_judged(clip_folder: Path) -> None:
    (clip,) = find_clips([clip_folder])
    assert clip.name == "clip"
    assert clip.starts == {1: 0, 2: 2}
    # Frame 0 is given, frame 2 draws a new object only, frame 3 has no mask, frame 5 is the last.
    assert clip.judged(1) == [1, 4]
    # Frame 4 speaks for all objects known by then: object 2 is absent there.
    assert clip.judged(2) == [4]


def test_clips_are_found_in_davis_layout_and_one_folder_each(clip_folder: Path, tmp_path: Path) -> None:
    davis = tmp_path / "davis"
    for kind in ("JPEGImages", "Annotations"):
        (davis / kind / "480p").mkdir(parents=True)
        (clip_folder / kind).rename(davis / kind / "480p" / "bear")
    assert [clip.name for clip in find_clips([davis])] == ["bear"]
    with pytest.raises(FileNotFoundError, match="no clip"):
        find_clips([clip_folder])


def test_mask_of_another_size_is_brought_to_the_frames_size(clip_folder: Path) -> None:
    narrow = Image.fromarray(np.ones((100, 99), np.uint8), "L")
    narrow.save(clip_folder / "Annotations" / "frame_0001.png")
    (clip,) = find_clips([clip_folder])
    assert clip.ids(1).shape == (100, 100)


def test_flow_beats_repetition_on_a_moving_square(clip_folder: Path) -> None:
    (clip,) = find_clips([clip_folder])
    rows = {
        name: next(iter(tracking_rows(clip.name, name, baseline_scores(clip, baseline))))
        for name, baseline in (("repeat", repeat_first), ("flow", warp_by_flow))
    }
    # Frames 1 and 4 are shifted by 4 and 16 of 30 pixels: IoU 26/34 and 14/46.
    assert rows["repeat"].region == pytest.approx(100 * (26 / 34 + 14 / 46) / 2, abs=0.01)
    assert rows["flow"].region > rows["repeat"].region
    assert rows["flow"].frames == 2
