"""Samples show an object, and their labels are where it is."""

from __future__ import annotations

import numpy as np
import pytest
from labeled_discs import labeled_discs

from tam_backend.adaptation.kept_video import keep
from tam_backend.adaptation.samples import Samples
from tam_backend.adaptation.track_lesson import UNKNOWN


@pytest.mark.parametrize("seed", range(8))
def test_a_still_shows_one_object_under_its_mask(seed: int) -> None:
    samples = Samples([keep(labeled_discs("discs", discs=2), 2**30, [])], 96)
    picture, mask = samples.still(np.random.default_rng(seed))
    assert picture.shape == (96, 96, 3)
    assert set(np.unique(mask)) <= {0, 1}
    inside = picture[mask == 1].mean(0)
    assert abs(inside[0] - inside[2]) > 40  # a red or a blue disc on a grey ground


@pytest.mark.parametrize("seed", range(8))
def test_a_film_begins_with_its_first_object_and_marks_frames_that_nobody_drew(seed: int) -> None:
    samples = Samples([keep(labeled_discs("discs", [0, 9]), 2**30, [])], 96)
    pictures, labels = samples.film(np.random.default_rng(seed), 6)
    assert pictures.shape == (6, 96, 96, 3)
    assert (labels[0] == 1).any()
    drawn = [not (frame == UNKNOWN).any() for frame in labels]
    assert any(drawn)
    assert not all(drawn)
    assert all(((frame == UNKNOWN).all() or not (frame == UNKNOWN).any()) for frame in labels)


def test_a_video_with_a_single_labeled_frame_makes_films_too() -> None:
    samples = Samples([keep(labeled_discs("discs", [3]), 2**30, [])], 64)
    _, labels = samples.film(np.random.default_rng(1), 4)
    assert all((frame == 1).any() for frame in labels)


def test_the_same_random_numbers_give_the_same_samples() -> None:
    samples = Samples([keep(labeled_discs(name, discs=2), 2**30, []) for name in "ab"], 64)
    for draw in (samples.still, lambda rng: samples.film(rng, 3)):
        one, other = (draw(np.random.default_rng(5)) for _ in range(2))
        assert np.array_equal(one[0], other[0])
        assert np.array_equal(one[1], other[1])
