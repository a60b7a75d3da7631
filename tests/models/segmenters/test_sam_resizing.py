"""SAM's frames, resized on the device: Pillow's own numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tam_backend.models.segmenters.sam_resizing import filtered, resized

CPU = torch.device("cpu")
SIDES = st.integers(2, 300)  # PyTorch resizes columns one pixel wide wrongly on CPUs


@settings(deadline=None)
@given(height=SIDES, width=SIDES, size_hw=st.tuples(SIDES, SIDES), seed=st.integers(0, 99))
def test_the_device_filters_as_pillow_does(height: int, width: int, size_hw: tuple[int, int], seed: int) -> None:
    frame = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    expected = resized(frame, size_hw, CPU)
    answer = filtered(torch.from_numpy(frame).permute(2, 0, 1)[None], size_hw)
    assert answer.shape == expected.shape == (1, 3, *size_hw)
    assert (answer - expected.float()).abs().max() <= 2  # twice a half, whose last digit tells which way it is rounded


@pytest.mark.parametrize("frame_hw", [(480, 853), (720, 1280), (1080, 1920), (300, 200)])
def test_hardly_a_number_is_another_for_videos_sizes(frame_hw: tuple[int, int]) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (*frame_hw, 3), dtype=np.uint8)
    size_hw = (576, 1024) if frame_hw[1] > frame_hw[0] else (1024, 683)
    answer = filtered(torch.from_numpy(frame).permute(2, 0, 1)[None], size_hw)
    differences = (answer - resized(frame, size_hw, CPU).float()).abs()
    assert (differences > 0).float().mean() < 0.05
    assert (differences > 1).float().mean() < 1e-4


def test_a_frame_that_is_seen_as_it_is_stays_as_it_is() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    assert np.array_equal(filtered(torch.from_numpy(frame).permute(2, 0, 1)[None], (7, 9))[0].permute(1, 2, 0), frame)
