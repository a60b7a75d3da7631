"""Evidence by sums, as on a GPU: the same numbers as the host's own way."""

from __future__ import annotations

import math
from dataclasses import asdict

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tam_backend.models.protocols import MemoryReading, TrackingStep
from tam_backend.quality.evidence import AbsenceEvidence, Evidence, FrameEvidence, Observation, Trace
from tam_backend.quality.mask_sums import MEASURED, MaskSums, area_weights
from tam_backend.quality.model import shipped

BEFORE = Trace(area=90.0, centre=(20.0, 12.0), missing=0)


def blobs(rng: np.random.Generator, height: int, width: int, smooth: float) -> np.ndarray:
    """(H, W) logits of smooth things, sharp or doubtful."""
    noise = cv2.GaussianBlur(rng.standard_normal((height, width)), (0, 0), smooth)
    return np.asarray(rng.uniform(3, 40) * (noise / noise.std() - rng.uniform(0, 2.5)), np.float32)


def tracked(seed: int, objects: int, hw: tuple[int, int], cells_hw: tuple[int, int]) -> TrackingStep:
    """An answer with objects of all kinds: sharp, doubtful, tiny, nowhere, and one that joins without a reading."""
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(np.stack([blobs(rng, *hw, rng.uniform(1, 8)) for _ in range(objects)]))
    kinds = rng.integers(0, 6, objects)
    logits[kinds == 1] -= 100
    probabilities = torch.cat([torch.zeros(1, *hw), logits]).softmax(0)
    for row in np.flatnonzero(kinds == 2):  # as a human's mask is told: exactly 0 and 1
        own = probabilities[1 + row] > 0.5
        probabilities[:, own] = 0
        probabilities[1 + row] = own.float()
    if kinds[0] == 3:
        probabilities[:, : hw[0] // 3, : hw[1] // 3] = torch.nan
    if kinds[0] == 3 or rng.integers(0, 4) == 0:
        return TrackingStep(tuple(range(1, objects + 1)), probabilities)
    elements = int(rng.integers(0, 5))
    similarity = -torch.from_numpy(rng.random((objects, cells_hw[0] * cells_hw[1], elements), np.float32))
    similarity[torch.from_numpy(rng.random(objects) < 0.2)] = -torch.inf
    foreground = torch.from_numpy(rng.random((objects, *cells_hw), np.float32))
    foreground[torch.from_numpy(rng.random(objects) < 0.2)] = 0
    reading = MemoryReading(cells_hw, similarity.exp(), similarity, similarity.long(), foreground)
    return TrackingStep(tuple(range(1, objects + 1)), probabilities, reading)


def assert_same(sums: Observation, host: Observation) -> None:
    assert type(sums.evidence) is type(host.evidence)
    known, expected = asdict(sums.evidence), asdict(host.evidence)
    for name, value in expected.items():
        if name in MEASURED:
            assert known[name] == pytest.approx(value, rel=1e-3, abs=2e-4, nan_ok=True), name
        else:
            assert math.isnan(known[name]), f"{name} is not measured by sums"
    if host.trace is None:
        assert sums.trace is None
        return
    assert sums.trace is not None
    assert (sums.trace.area, sums.trace.missing) == (host.trace.area, host.trace.missing)
    assert sums.trace.centre == pytest.approx(host.trace.centre, abs=1e-3)


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
