"""The packaged clips are there, small, and can be judged by."""

from __future__ import annotations

import pytest

from tam_backend.adaptation.general import MEASURED, PACKED, PRACTISED, general_clips


def test_what_is_practised_is_not_what_harm_is_measured_on() -> None:
    assert not set(PRACTISED) & set(MEASURED)


@pytest.mark.parametrize("name", [*PRACTISED, *MEASURED])
def test_every_clip_has_frames_and_masks(name: str) -> None:
    (clip,) = general_clips([name])
    assert clip.name == name
    assert len(clip.video) > len(clip.masks) >= 4
    for at, mask in clip.masks.items():
        assert mask.shape == clip.video[at].shape[:2] == clip.video.size_hw
        assert 0.005 < (mask > 0).mean() < 0.6


def test_the_package_stays_small() -> None:
    assert PACKED.stat().st_size < 3_000_000
