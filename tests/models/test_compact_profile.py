from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from tam_backend.models import compact_profile, devices, zoo
from tam_backend.models.compact_tracker import compact_tracker
from tam_backend.models.protocols import Models
from tam_backend.models.winograd import WinogradConvolution
from tam_backend.types import BoolMask, RgbFrame

Scene = Callable[[int], tuple[RgbFrame, BoolMask]]
AsImage = Callable[[RgbFrame], Tensor]


def _winograds(models: Models) -> int:
    tracker = models.new_tracker()
    assert isinstance(tracker, compact_tracker.CompactTracker)
    return sum(isinstance(module, WinogradConvolution) for module in tracker._network.modules())


def test_without_bfloat16_many_channels_are_convolved_with_fewer_multiplications_and_masks_stay(
    monkeypatch: pytest.MonkeyPatch, scene: Scene, as_image: AsImage
) -> None:
    for module in (devices, compact_profile, compact_tracker):
        monkeypatch.setattr(module, "has_fast_bfloat16", lambda device: False)
    quick = zoo.load("compact", "cpu")
    monkeypatch.setattr(compact_profile, "use_winograd", lambda *arguments, **named: None)
    plain = zoo.load("compact", "cpu")
    assert (_winograds(quick), _winograds(plain)) == (6, 0)
    trackers = [quick.new_tracker(), plain.new_tracker()]
    for index in range(6):
        frame, mask = scene(index)
        given = torch.from_numpy(mask.astype(np.int64)) if index == 0 else None
        one, other = (tracker.step(as_image(frame), given) for tracker in trackers)
        torch.testing.assert_close(one, other, atol=2e-3, rtol=0)


def test_with_bfloat16_convolutions_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (devices, compact_profile, compact_tracker):
        monkeypatch.setattr(module, "has_fast_bfloat16", lambda device: True)
    assert _winograds(zoo.load("compact", "cpu")) == 0
