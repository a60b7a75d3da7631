"""Which device the networks run on, and in which precision its convolutions are quickest."""

from __future__ import annotations

import contextlib
import ctypes
import functools
from collections.abc import Callable

import torch

from tam_backend.errors import DeviceError


def resolve_device(name: str = "auto") -> torch.device:
    """Turn a setting into a device that is on this machine.

    Args:
        name: "auto" (CUDA if there is one, else the CPU), "cpu", "cuda", "cuda:1", "mps", ...

    Raises:
        DeviceError: no such device here, or no such name.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"{name!r} is not a device.", "Use auto, cpu, cuda or cuda:<number>.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise DeviceError(f"Device {name!r} was asked for, but PyTorch sees no CUDA GPU here.", "Use auto or cpu.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(f"Device {name!r} was asked for, but only {torch.cuda.device_count()} GPUs are here.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError(f"Device {name!r} was asked for, but PyTorch sees no Apple GPU here.", "Use auto or cpu.")
    if device.type not in ("cpu", "cuda", "mps"):
        raise DeviceError(f"Device {name!r} is of a kind that the networks were not written for.", "Use auto or cpu.")
    return device


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 convolutions run in hardware there; emulated ones are slower than float32."""
    if device.type == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def fast_dtype(device: torch.device) -> torch.dtype:
    """Return the precision in which convolutions are quickest there: half of one kind or the other, or float32."""
    if has_fast_bfloat16(device):
        return torch.bfloat16
    return torch.float16 if device.type == "cuda" else torch.float32


def fast_precision(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Run convolutions in bfloat16 within the context where that is quick; do nothing where it is not."""
    if has_fast_bfloat16(device):
        return torch.autocast(device.type, torch.bfloat16)
    return contextlib.nullcontext()


def give_back_freed_memory() -> None:
    """Return to the system what the C library keeps of freed memory; takes some 25 ms.

    A memory that grows by a few elements at a time asks for a slightly larger block each time, and leaves holes of all
    sizes behind: 300 MB after 1200 frames (measured with glibc; other C libraries are left alone).
    """
    _malloc_trim()(0)


@functools.cache
def _malloc_trim() -> Callable[[int], int]:
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # not glibc
        return lambda _: 0
    return trim
