from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from tam_backend.models.padding import Padding


@given(height=st.integers(1, 70), width=st.integers(1, 70))
def test_padding_reaches_the_stride_and_comes_off_again(height: int, width: int) -> None:
    image = torch.rand(1, height, width)
    padding = Padding.to_stride((height, width), 32)
    padded = padding.add(image)
    assert padded.shape[1] % 32 == 0
    assert padded.shape[2] % 32 == 0
    assert padded.shape[1] - height < 32
    assert torch.equal(padding.remove(padded), image)


def test_odd_pixel_goes_to_the_right_and_bottom() -> None:
    assert Padding.to_stride((29, 31), 32) == Padding(left=0, right=1, top=1, bottom=2)
