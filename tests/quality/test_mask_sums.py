"""Evidence by sums, as on a GPU: the same numbers as the host's own way."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tracked_blobs import assert_same, tracked

from tam_backend.models.protocols import TrackingStep
from tam_backend.quality.evidence import AbsenceEvidence, Evidence, FrameEvidence, Trace
from tam_backend.quality.mask_sums import MEASURED, MaskSums, area_weights
from tam_backend.quality.model import shipped

BEFORE = Trace(area=90.0, centre=(20.0, 12.0), missing=0)


@settings(deadline=None, max_examples=200)
@given(
    seed=st.integers(0, 2**32 - 1),
    objects=st.integers(1, 6),
    hw=st.tuples(st.integers(16, 70), st.integers(16, 90)),
    cells_hw=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    before=st.sampled_from([None, BEFORE, Trace(40.0, (3.0, 60.0), missing=3)]),
)
def test_sums_tell_what_the_host_tells(
    seed: int, objects: int, hw: tuple[int, int], cells_hw: tuple[int, int], before: Trace | None
) -> None:
    step = tracked(seed, objects, hw, cells_hw)
    sums, host = MaskSums().look(step), FrameEvidence(step)
    for channel in range(1, objects + 1):
        assert_same(sums.observe(channel, before), host.observe(channel, before))


@pytest.mark.parametrize("radius", [1, 9, 30, 60, 95, 140, 170])
def test_the_band_grows_with_the_object(radius: int) -> None:
    """480 rows as the trackers have them; a soft rim of 3 pixels, so that the band's width matters."""
    y, x = np.mgrid[:480, :640]
    depth = radius - np.hypot(y - 200, x - 330)
    inside = torch.from_numpy((1 / (1 + np.exp(-depth / 1.5))).astype(np.float32))
    step = TrackingStep((4,), torch.stack([1 - inside, inside]))
    seen, expected = MaskSums().look(step).observe(1, None), FrameEvidence(step).observe(1, None)
    assert_same(seen, expected)
    assert isinstance(seen.evidence, Evidence)
    assert seen.evidence.band_entropy > 0.1


def test_an_object_that_is_nowhere_is_told_apart_from_one_that_is_somewhere() -> None:
    probabilities = torch.zeros(3, 20, 30)
    probabilities[1, 5:9, 5:9] = 1
    probabilities[0] = 1 - probabilities[1]
    look = MaskSums().look(TrackingStep((1, 2), probabilities))
    assert isinstance(look.observe(1, None).evidence, Evidence)
    gone = look.observe(2, BEFORE)
    assert isinstance(gone.evidence, AbsenceEvidence)
    assert gone.trace == Trace(BEFORE.area, BEFORE.centre, missing=1)


@given(size=st.integers(1, 90), cells=st.integers(1, 40), seed=st.integers(0, 1000))
def test_cells_are_the_means_that_opencv_takes(size: int, cells: int, seed: int) -> None:
    cells = min(size, cells)
    row = np.random.default_rng(seed).random((1, size), np.float32)
    expected = cv2.resize(row, (cells, 1), interpolation=cv2.INTER_AREA)
    assert (torch.from_numpy(row) @ area_weights(size, cells, torch.zeros(1)).T).numpy() == pytest.approx(
        expected, abs=2e-3
    )


def test_whatever_the_shipped_models_ask_for_is_measured_by_sums() -> None:
    """Else sessions on a GPU would go back to the host's way: right, but slow."""
    for models in shipped().values():
        assert {*models.mask.names, *models.absence.names} <= MEASURED
