from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from tam_backend.models.winograd import Tile, WinogradConvolution, is_suitable, use_winograd


def _convolution(channels: int, outputs: int, bias: bool = True, seed: int = 0) -> nn.Conv2d:
    torch.manual_seed(seed)
    return nn.Conv2d(channels, outputs, 3, padding=1, bias=bias)


@settings(deadline=None, max_examples=60)
@given(
    tile=st.sampled_from([2, 4]),
    count=st.integers(1, 3),
    channels=st.integers(1, 40),
    outputs=st.integers(1, 70),
    height=st.integers(1, 60),
    width=st.integers(1, 13),
    bias=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_answers_are_those_of_the_convolution(
    tile: Tile, count: int, channels: int, outputs: int, height: int, width: int, bias: bool, seed: int
) -> None:
    plain = _convolution(channels, outputs, bias, seed)
    x = torch.randn(count, channels, height, width)
    exact = functional.conv2d(
        x.double(), plain.weight.double(), None if plain.bias is None else plain.bias.double(), padding=1
    )
    torch.testing.assert_close(WinogradConvolution(plain, tile)(x).double(), exact, atol=3e-5, rtol=0)


@pytest.mark.parametrize(("tile", "most"), [(2, 5e-6), (4, 3e-5)])
def test_rounding_is_small_beside_the_answers(tile: Tile, most: float) -> None:
    plain = _convolution(256, 64)
    x = torch.randn(1, 256, 24, 24)
    exact = functional.conv2d(x.double(), plain.weight.double(), plain.bias.double(), padding=1)  # type: ignore[union-attr]
    assert (WinogradConvolution(plain, tile)(x) - exact).abs().max() < most * exact.abs().max()


def test_a_picture_is_not_mixed_with_the_next_one() -> None:
    winograd = WinogradConvolution(_convolution(8, 8), 4)
    x = torch.randn(2, 8, 9, 9)
    torch.testing.assert_close(winograd(x)[1:], winograd(x[1:]))


def test_answers_lie_channels_last_as_they_came() -> None:
    x = torch.randn(1, 8, 10, 11).contiguous(memory_format=torch.channels_last)
    assert WinogradConvolution(_convolution(8, 8), 4)(x).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "other",
    [
        nn.Conv2d(8, 8, 1),
        nn.Conv2d(8, 8, 3),
        nn.Conv2d(8, 8, 3, padding=1, stride=2),
        nn.Conv2d(8, 8, 3, padding=2, dilation=2),
        nn.Conv2d(8, 8, 3, padding=1, groups=2),
        nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(8, 8, 3, padding=1).bfloat16(),
    ],
    ids=["1x1", "no padding", "stride", "dilation", "groups", "reflecting", "bfloat16"],
)
def test_other_convolutions_are_refused(other: nn.Conv2d) -> None:
    assert not is_suitable(other)
    with pytest.raises(ValueError, match="Not a plain 3x3"):
        WinogradConvolution(other, 4)


def test_only_wide_convolutions_are_replaced() -> None:
    network = nn.Sequential(_convolution(4, 8), nn.Sequential(_convolution(8, 8), nn.ReLU()), nn.Conv2d(8, 8, 1))
    use_winograd(network, 2, least_channels=8)
    assert [type(module).__name__ for module in network.modules() if not list(module.children())] == [
        "Conv2d",
        "WinogradConvolution",
        "ReLU",
        "Conv2d",
    ]
