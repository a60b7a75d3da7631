from __future__ import annotations

import pytest
import torch

from tam_backend.errors import DeviceError
from tam_backend.models.devices import (
    fast_dtype,
    fast_precision,
    give_back_freed_memory,
    has_fast_bfloat16,
    resolve_device,
)

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="speaks of machines without a GPU")


@no_gpu
def test_auto_is_the_cpu_where_there_is_no_gpu() -> None:
    assert resolve_device("auto") == torch.device("cpu")


@no_gpu
@pytest.mark.parametrize("name", ["cuda", "cuda:1", "mps"])
def test_absent_device_is_named(name: str) -> None:
    if name == "mps" and torch.backends.mps.is_available():
        pytest.skip("this machine has an Apple GPU")
    with pytest.raises(DeviceError, match=name):
        resolve_device(name)


def test_auto_prefers_the_gpu_and_a_gpu_beyond_the_last_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert resolve_device("auto") == torch.device("cuda")
    assert resolve_device("cuda:0") == torch.device("cuda:0")
    with pytest.raises(DeviceError, match="cuda:3"):
        resolve_device("cuda:3")


@pytest.mark.parametrize("name", ["gpu", "", "meta"])
def test_names_that_are_no_device_are_refused(name: str) -> None:
    with pytest.raises(DeviceError):
        resolve_device(name)


@pytest.mark.parametrize("fast", [True, False])
def test_convolutions_are_bfloat16_only_where_that_is_fast(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: fast)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert has_fast_bfloat16(torch.device("cpu")) is fast
    with fast_precision(torch.device("cpu")):
        out = torch.nn.Conv2d(1, 1, 1)(torch.ones(1, 1, 2, 2))
    assert out.dtype == (torch.bfloat16 if fast else torch.float32)


def test_a_gpu_without_bfloat16_takes_the_other_half(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert fast_dtype(torch.device("cuda")) == torch.float16
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert fast_dtype(torch.device("cuda")) == torch.bfloat16
    assert fast_dtype(torch.device("mps")) == torch.float32


def test_freed_memory_is_given_back_where_the_c_library_can() -> None:
    held = torch.ones(1000)
    give_back_freed_memory()
    assert held.sum() == 1000
