from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import nn
from torch.nn import functional

from tam_backend.models.layers import convolved

CONVOLUTIONS = {
    "pointwise": lambda: nn.Conv2d(6, 10, 1),
    "depthwise": lambda: nn.Conv2d(6, 6, 3, stride=2, padding=1, groups=6),
    "dilated, no bias": lambda: nn.Conv2d(6, 4, 3, padding=2, dilation=2, bias=False),
}


def _image() -> torch.Tensor:
    return 6 * torch.randn(2, 6, 9, 11, generator=torch.Generator().manual_seed(0))


def _plain(convolution: nn.Conv2d, x: torch.Tensor, then: Literal["relu", "relu6"]) -> torch.Tensor:
    out: torch.Tensor = convolution(x)
    return functional.relu(out) if then == "relu" else functional.relu6(out)


@pytest.mark.parametrize("kind", CONVOLUTIONS)
@pytest.mark.parametrize("then", ["relu", "relu6"])
def test_one_operator_gives_what_two_give(kind: str, then: Literal["relu", "relu6"]) -> None:
    torch.manual_seed(0)
    convolution = CONVOLUTIONS[kind]()
    convolution.weight.data *= 5  # so that 6 is reached
    with torch.inference_mode():
        out = convolved(convolution, _image(), then)
    assert (out == 6).any() == (then == "relu6")
    torch.testing.assert_close(out, _plain(convolution, _image(), then).detach(), atol=1e-5, rtol=1e-5)


def test_autocast_holds_for_it_too() -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(6, 10, 1)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        out = convolved(convolution, _image(), "relu6")
        expected = _plain(convolution, _image(), "relu6")
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out, expected, atol=0.03, rtol=0.01)


def test_gradients_flow_where_they_are_wanted() -> None:
    convolution = nn.Conv2d(6, 10, 1)
    (gradient,) = torch.autograd.grad(convolved(convolution, _image(), "relu").sum(), convolution.weight)
    assert gradient.abs().sum() > 0
