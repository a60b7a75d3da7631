"""The same numbers and errors on every machine: as it is here, and where PyTorch's private operators do not work."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tam_backend.models import cpu_operators
from tam_backend.models.cpu_operators import Then, convolved, has_bfloat16_instructions, product

CONVOLUTIONS: dict[str, Callable[[], nn.Module]] = {
    "pointwise": lambda: nn.Conv2d(6, 10, 1),
    "depthwise": lambda: nn.Conv2d(6, 6, 3, stride=2, padding=1, groups=6),
    "dilated, no bias": lambda: nn.Conv2d(6, 4, 3, padding=2, dilation=2, bias=False),
    "padding by name": lambda: nn.Conv2d(6, 4, 3, padding="same"),
    "reflecting": lambda: nn.Conv2d(6, 4, 3, padding=1, padding_mode="reflect"),
}


def _refuses(*arguments: Any) -> Tensor:
    raise RuntimeError("bf16 path needs the cpu support avx_ne_convert or avx512bw")


def _refuses_large(x: Tensor, *others: Any) -> Tensor:
    if x.numel() > 50:
        raise RuntimeError("could not create a primitive descriptor")
    return REAL["_linear_pointwise" if len(others) == 5 else "_convolution_pointwise"](x, *others)


OPERATORS = ("_convolution_pointwise", "_linear_pointwise")
REAL: dict[str, Any] = {name: getattr(torch.ops.mkldnn, name, _refuses) for name in OPERATORS}
MACHINES: dict[str, SimpleNamespace | None] = {
    "this one": None,
    "operators missing": SimpleNamespace(),
    "operators refuse": SimpleNamespace(**dict.fromkeys(OPERATORS, _refuses)),
    "operators refuse large inputs": SimpleNamespace(**dict.fromkeys(OPERATORS, _refuses_large)),
    "operators take other arguments": SimpleNamespace(**dict.fromkeys(OPERATORS, lambda x, weight: x)),
    "operators mean something else": SimpleNamespace(
        _convolution_pointwise=lambda x, weight, bias, *rest: functional.conv2d(x, weight, bias, padding=1),
        _linear_pointwise=lambda x, weight, *rest: 2 * x @ weight.T,
    ),
    "operators answer in another precision": SimpleNamespace(
        **{name: lambda *arguments, real=real: real(*arguments).double() for name, real in REAL.items()}
    ),
}


def _forget_what_was_tried() -> None:
    cpu_operators._fuses.cache_clear()
    cpu_operators._multiplies.cache_clear()


@pytest.fixture(params=MACHINES)
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if MACHINES[request.param] is not None:
        monkeypatch.setattr(torch.ops, "mkldnn", MACHINES[request.param])
    _forget_what_was_tried()
    yield request.param
    _forget_what_was_tried()


def _image() -> Tensor:
    return 6 * torch.randn(2, 6, 9, 11, generator=torch.Generator().manual_seed(0))


def _plain(convolution: nn.Conv2d, x: Tensor, then: Then) -> Tensor:
    out: Tensor = convolution(x)
    return functional.relu(out) if then == "relu" else functional.relu6(out)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("kind", CONVOLUTIONS)
@pytest.mark.parametrize("then", ["relu", "relu6"])
def test_one_operator_gives_what_two_give(kind: str, then: Then) -> None:
    torch.manual_seed(0)
    convolution = CONVOLUTIONS[kind]()
    convolution.weight.data *= 5  # so that 6 is reached
    with torch.inference_mode():
        out = convolved(convolution, _image(), then)
    assert (out == 6).any() == (then == "relu6")
    torch.testing.assert_close(out, _plain(convolution, _image(), then).detach(), atol=1e-5, rtol=1e-5)


@pytest.mark.usefixtures("machine")
def test_autocast_holds_for_it_too() -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(6, 10, 1)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        out = convolved(convolution, _image(), "relu6")
        expected = _plain(convolution, _image(), "relu6")
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out, expected, atol=0.03, rtol=0.01)


@pytest.mark.usefixtures("machine")
def test_frozen_layers_answer_the_same_while_others_learn() -> None:
    torch.manual_seed(0)
    frozen = nn.Conv2d(6, 10, 1).requires_grad_(False)
    out = convolved(frozen, _image(), "relu6")
    assert not out.requires_grad
    torch.testing.assert_close(out, _plain(frozen, _image(), "relu6"), atol=1e-5, rtol=1e-5)


@pytest.mark.usefixtures("machine")
def test_gradients_flow_where_they_are_wanted() -> None:
    convolution = nn.Conv2d(6, 10, 1)
    (gradient,) = torch.autograd.grad(convolved(convolution, _image(), "relu").sum(), convolution.weight)
    assert gradient.abs().sum() > 0
    image = _image().requires_grad_()
    (gradient,) = torch.autograd.grad(convolved(convolution.requires_grad_(False), image, "relu").sum(), image)
    assert gradient.abs().sum() > 0
    rows = torch.randn(3, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(product(rows, torch.ones(5, 4)).sum(), rows)
    assert torch.equal(gradient, torch.full((3, 4), 5.0))


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12), (torch.bfloat16, 0.02)]
)
def test_a_product_of_rows_is_that_of_matrices(dtype: torch.dtype, tolerance: float) -> None:
    generator = torch.Generator().manual_seed(1)
    rows, others = (torch.randn(count, 33, generator=generator).to(dtype) for count in (9, 14))
    answer = product(rows, others)
    assert answer.dtype == dtype
    expected = rows.double() @ others.double().T
    torch.testing.assert_close(answer.double(), expected, atol=5 * tolerance, rtol=tolerance)
    assert torch.equal(product(rows, others, "relu"), functional.relu(answer))
    assert torch.equal(product(rows, others, "relu6"), functional.relu6(answer))


@pytest.mark.usefixtures("machine")
def test_a_product_of_rows_is_autocast_as_that_of_matrices_is() -> None:
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert product(torch.ones(2, 3), torch.ones(4, 3)).dtype == torch.bfloat16


@pytest.mark.usefixtures("machine")
@torch.inference_mode()
def test_what_does_not_fit_gets_the_same_error_on_every_machine() -> None:
    with pytest.raises(RuntimeError, match="to have 6 channels, but got 5 channels"):
        convolved(nn.Conv2d(6, 10, 1), torch.ones(1, 5, 3, 3), "relu")
    with pytest.raises(RuntimeError, match=r"cannot be multiplied \(2x3 and 5x4\)"):
        product(torch.ones(2, 3), torch.ones(4, 5))
    with pytest.raises(RuntimeError, match="type"):
        convolved(nn.Conv2d(6, 10, 1), torch.ones(1, 6, 3, 3, dtype=torch.float64), "relu")


@torch.inference_mode()
def test_private_operators_are_used_where_they_are_right(monkeypatch: pytest.MonkeyPatch) -> None:
    def stands_in(x: Tensor, weight: Tensor, bias: Tensor | None, *rest: Any) -> Tensor:
        seen.append(tuple(x.shape))
        if len(rest) == 3:
            return functional.relu(x @ weight.T) if rest[0] == "relu" else x @ weight.T
        padding, stride, dilation, groups, name, *_ = rest
        return _relu(name)(functional.conv2d(x, weight, bias, stride, padding, dilation, groups))

    def _relu(name: str) -> Callable[[Tensor], Tensor]:
        return functional.relu if name == "relu" else functional.relu6

    seen: list[tuple[int, ...]] = []
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace(**dict.fromkeys(OPERATORS, stands_in)))
    _forget_what_was_tried()
    try:
        for _ in range(2):
            convolved(nn.Conv2d(6, 10, 1), _image(), "relu6")
            product(torch.ones(20, 3), torch.ones(4, 3))
            product(torch.ones(20, 3), torch.ones(4, 3), "relu")
    finally:
        _forget_what_was_tried()
    assert seen.count((2, 6, 9, 11)) == 2
    assert seen.count((20, 3)) == 4
    assert len(seen) == 2 + 4 + 3, "each is tried once"


def test_the_cpus_flags_are_those_that_the_kernel_sees() -> None:
    flags = Path("/proc/cpuinfo")
    if not flags.exists():
        pytest.skip("the kernel lists no flags here")
    assert has_bfloat16_instructions() == bool({"avx512_bf16", "amx_bf16"} & set(flags.read_text().split()))


@pytest.mark.parametrize("told", [True, False])
def test_an_older_pytorch_is_asked_by_the_names_it_has(told: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: told, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
    assert has_bfloat16_instructions() is told


def test_a_pytorch_that_knows_none_of_the_names_has_no_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("get_capabilities", "_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert has_bfloat16_instructions() is False


def test_a_newer_pytorch_is_asked_in_public(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"architecture": "aarch64", "bf16": True}, raising=False)
    assert has_bfloat16_instructions() is False
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    assert has_bfloat16_instructions() is True


def test_bfloat16_is_computed_but_not_preferred_on_a_cpu_with_avx2_alone() -> None:
    """In a process whose oneDNN is held to what most laptops have, and refuses bfloat16 there."""
    program = (
        "import torch\n"
        "from tam_backend.models.cpu_operators import convolved, product\n"
        "from tam_backend.models.devices import has_fast_bfloat16\n"
        "one = torch.nn.Conv2d(1, 1, 1, bias=False)\n"
        "one.weight.data.fill_(3)\n"
        "with torch.inference_mode(), torch.autocast('cpu', torch.bfloat16):\n"
        "    print(convolved(one, torch.ones(1, 1, 1, 1), 'relu6'))\n"
        "    print(product(torch.ones(1, 64).bfloat16(), torch.ones(1, 64).bfloat16()))\n"
        "    print(has_fast_bfloat16(torch.device('cpu')))\n"
    )
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [
        "tensor([[[[3.]]]], dtype=torch.bfloat16)",
        "tensor([[64.]], dtype=torch.bfloat16)",
        "False",
    ], done.stderr[-2000:]
