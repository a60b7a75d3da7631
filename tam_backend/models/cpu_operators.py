"""The one place that knows private names of PyTorch: operators of its compiler's, and what the CPU's flags are called.

Each has public operators beside it that do the same. A private one is tried once for every precision, on a few numbers:
where it is missing, refuses or answers something else (another CPU, another PyTorch, a Mac), the public ones do the
work. So the machine decides about speed, never about results or errors.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Then = Literal["relu", "relu6"]

# What oneDNN calls the function after a convolution or a product, and its arguments.
_ONEDNN_NAMES: dict[Then | None, tuple[str, list[float]]] = {
    None: ("none", []),
    "relu": ("relu", []),
    "relu6": ("hardtanh", [0.0, 6.0]),
}
# Missing; not for this CPU, or called with the arguments of another release.
_REFUSALS = (AttributeError, RuntimeError, TypeError)
# Far more than bfloat16 rounds numbers of the size that are tried, far less than another function's would differ.
_TOLERANCE = 0.05


def convolved(convolution: nn.Module, x: Tensor, then: Then) -> Tensor:
    """Return the ReLU or ReLU6 of a convolution: (B, in_channels, H, W) -> (B, out_channels, h, w).

    Where no gradient is asked (in inference, and of frozen layers while others learn), oneDNN does both in one go on a
    CPU, with the same numbers: writing and reading the large early maps once less makes MobileNetV2 a fifth quicker
    (measured; PyTorch has it only as an operator of its compiler's).

    Args:
        convolution: `nn.Conv2d`, or what does the same in another way (`WinogradConvolution`).
        x: what it is made of.
        then: what comes after.
    """
    onednn_may = x.device.type == "cpu" and not _trains(convolution, x)
    if onednn_may and isinstance(convolution, nn.Conv2d) and convolution.padding_mode == "zeros":
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        if _fuses(then, dtype):
            with contextlib.suppress(*_REFUSALS):  # of these sizes: what is wrong with them, if anything, is said below
                return _fused(convolution, x, then)
    return _one_by_one(convolution, x, then)


def product(rows: Tensor, others: Tensor, then: Then | None = None) -> Tensor:
    """Return `rows @ others.T`, or its ReLU or ReLU6: (Q, C) and (N, C) -> (Q, N).

    On a CPU oneDNN makes it, with the same rounding: on AMD's it is 2.3 times as quick as the MKL that `@` goes to
    (measured; PyTorch lets nobody choose but by this operator of its compiler's).
    """
    trains = torch.is_grad_enabled() and (rows.requires_grad or others.requires_grad)
    # Autocast does not know the operator.
    asked_here = rows.device.type == "cpu" and not trains and not torch.is_autocast_enabled("cpu")
    if asked_here and _multiplies(then, rows.dtype):
        with contextlib.suppress(*_REFUSALS):
            return _onednn_product(rows, others, then)
    return _followed(rows @ others.T, then)


def has_onednn() -> bool:
    """Whether this PyTorch was built with oneDNN; those for Macs are not."""
    return bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]


def has_bfloat16_instructions() -> bool:
    """Whether the CPU says that it multiplies bfloat16 (AVX512-BF16 or AMX); whether oneDNN may use that is not asked.

    ARM's are not counted: nobody has measured these networks there.
    """
    if hasattr(torch.cpu, "get_capabilities"):
        flags = torch.cpu.get_capabilities()
        return bool(flags.get("avx512_bf16") or flags.get("amx_bf16"))
    # PyTorch 2.6 has only these.
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name)() for name in names if hasattr(torch.cpu, name))


def _trains(convolution: nn.Module, x: Tensor) -> bool:
    """Whether a gradient is asked: of what comes in, or of the weights."""
    return torch.is_grad_enabled() and (x.requires_grad or any(p.requires_grad for p in convolution.parameters()))


def _one_by_one(convolution: nn.Module, x: Tensor, then: Then) -> Tensor:
    out: Tensor = convolution(x)
    return _followed(out, then)


def _followed(out: Tensor, then: Then | None) -> Tensor:
    """Do in place what comes after."""
    if then is None:
        return out
    return functional.relu(out, inplace=True) if then == "relu" else functional.relu6(out, inplace=True)


def _fused(convolution: nn.Conv2d, x: Tensor, then: Then) -> Tensor:
    weight, bias = convolution.weight, convolution.bias
    if torch.is_autocast_enabled("cpu"):  # which does not know the operator
        dtype = torch.get_autocast_dtype("cpu")
        x, weight, bias = x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    name, limits = _ONEDNN_NAMES[then]
    fused: Tensor = torch.ops.mkldnn._convolution_pointwise(
        x,
        weight,
        bias,
        convolution.padding,
        convolution.stride,
        convolution.dilation,
        convolution.groups,
        name,
        limits,
        "",
    )
    return fused


def _onednn_product(rows: Tensor, others: Tensor, then: Then | None) -> Tensor:
    name, limits = _ONEDNN_NAMES[then]
    answer: Tensor = torch.ops.mkldnn._linear_pointwise(rows, others, None, name, limits, "")
    return answer


@functools.cache
def _fuses(then: Then, dtype: torch.dtype) -> bool:
    with torch.device("meta"):  # no random numbers, for weights that are replaced at once
        convolution = nn.Conv2d(2, 3, 3, padding=1)
    convolution.weight = nn.Parameter(_numbers(3, 2, 3, 3).to(dtype), requires_grad=False)
    convolution.bias = nn.Parameter(_numbers(3).to(dtype), requires_grad=False)
    x = _numbers(1, 2, 4, 5).to(dtype)
    return _agree(lambda: _fused(convolution, x, then), lambda: _one_by_one(convolution, x, then))


@functools.cache
def _multiplies(then: Then | None, dtype: torch.dtype) -> bool:
    rows, others = _numbers(3, 4).to(dtype), _numbers(5, 4).to(dtype)
    return _agree(lambda: _onednn_product(rows, others, then), lambda: _followed(rows @ others.T, then))


def _agree(private: Callable[[], Tensor], public: Callable[[], Tensor]) -> bool:
    with torch.inference_mode(), torch.autocast("cpu", enabled=False):
        try:
            answer, expected = private(), public()
            return answer.dtype == expected.dtype and torch.allclose(answer, expected, _TOLERANCE, _TOLERANCE)
        except _REFUSALS:
            return False


def _numbers(*shape: int) -> Tensor:
    """Return the same numbers every time, of both signs, without a random generator that others use."""
    return (torch.arange(math.prod(shape)).float() * 2.4).sin().mul(2).view(shape)
