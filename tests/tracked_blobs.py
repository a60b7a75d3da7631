"""Trackers' answers with all that masks may look like, and whether two ways of looking at them see the same."""

from __future__ import annotations

import math
from dataclasses import asdict

import cv2
import numpy as np
import pytest
import torch

from tam_backend.models.protocols import MemoryReading, TrackingStep
from tam_backend.quality.evidence import Observation
from tam_backend.quality.mask_sums import MEASURED


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
