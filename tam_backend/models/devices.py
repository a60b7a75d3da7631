"""Which device the networks run on, and in which precision its convolutions are quickest."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import nn
from torch.nn import functional

from tam_backend.errors import DeviceError
from tam_backend.models.cpu_operators import has_bfloat16_instructions

# Values of oneDNN's ONEDNN_MAX_CPU_ISA at which it computes bfloat16, but from float32; below them it refuses to.
_EMULATING_LEVELS = {"AVX512_CORE", "AVX512_CORE_VNNI"}
# M_TRIM_THRESHOLD, M_MMAP_THRESHOLD and M_ARENA_MAX of glibc's malloc.h.
_MALLOPT_KEPT, _MALLOPT_LARGE, _MALLOPT_POOLS = -1, -3, -8
_taking_cores = threading.Lock()
# A frame's largest features take 40 MB, all that it frees in a stretch less than twice that.
_KEPT_BYTES = 128 * 2**20
# Releases that take no more than this for large pieces refuse more (DEFAULT_MMAP_THRESHOLD_MAX on 64 bits).
_MOST_OF_OLD_GLIBC = 32 * 2**20


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
    """Whether bfloat16 convolutions run in hardware there; emulated ones are several times slower than float32.

    Where not, they can be computed all the same, for whoever asks for that precision by name.
    """
    if device.type == "cpu":
        return has_bfloat16_instructions() and not _onednn_is_held_back() and _onednn_computes_bfloat16()
    # PyTorch's own answer (`torch.cuda.is_bf16_supported`) is for the current device, whichever was meant.
    if device.type == "cuda":
        return torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (8, 0)
    return False


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


def keep_fast_precision(network: nn.Module, device: torch.device) -> None:
    """Bring convolutions and linear layers for good to the precision that `fast_precision` computes them in.

    It gives the same numbers; the context would bring the same weights there anew in every call.
    """
    if has_fast_bfloat16(device):
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.to(torch.bfloat16)


def take_cores(count: int) -> None:
    """Let this thread's operators use so many cores of the CPU, and those of all other threads as many as before.

    PyTorch keeps the number by thread, but gives the last one set to every thread that begins later; so another thread,
    which stands by, sets the old one again at once. For a thread that has not computed yet.
    """
    with _taking_cores, ThreadPoolExecutor(1, "tam-cores-as-before") as other:
        before = torch.get_num_threads()  # the first call in a thread also settles its number
        other.submit(torch.get_num_threads).result()
        torch.set_num_threads(count)
        other.submit(torch.set_num_threads, before).result()


def give_back_freed_memory() -> None:
    """Return to the system what the C library keeps of freed memory; takes some 25 ms.

    A memory that grows by a few elements at a time asks for a slightly larger block each time, and leaves holes of all
    sizes behind: 300 MB after 1200 frames (measured with glibc; other C libraries are left alone).
    """
    _from_c_library("malloc_trim", lambda _unused: 0)(0)


def keep_freed_memory() -> None:
    """Let the C library use up to 128 MB of freed memory again, rather than ask the system for it anew.

    The system fills what it gives with zeros, page by page: a tenth of a frame's time on a CPU (measured; a third of
    the layer with the largest features). Of small pieces glibc keeps much by itself. Other C libraries are left alone.
    """
    mallopt = _from_c_library("mallopt", lambda _name, _value: 0)
    if not mallopt(_MALLOPT_LARGE, _KEPT_BYTES):
        mallopt(_MALLOPT_LARGE, _MOST_OF_OLD_GLIBC)
    mallopt(_MALLOPT_KEPT, _KEPT_BYTES)


def let_threads_share_memory() -> None:
    """Let threads that begin from now on use again what others have freed.

    glibc gives each thread a pool of its own, and of all but the first one it gives the free end back to nobody: the
    twenty threads of a server held 5 MB each of masks that were long forgotten. Other C libraries are left alone.
    """
    _from_c_library("mallopt", lambda _name, _value: 0)(_MALLOPT_POOLS, 1)


def _onednn_is_held_back() -> bool:
    """Whether oneDNN was told to do without the CPU's bfloat16 instructions, at a level where it emulates them."""
    level = os.environ.get("ONEDNN_MAX_CPU_ISA", os.environ.get("DNNL_MAX_CPU_ISA", ""))
    return level.upper() in _EMULATING_LEVELS


@functools.cache
def _onednn_computes_bfloat16() -> bool:
    """Whether oneDNN is in this PyTorch and takes bfloat16, at the level of instructions that it was held to."""
    with torch.inference_mode(), torch.autocast("cpu", enabled=False):
        try:
            one = torch.ones(1, 1, 1, 1, dtype=torch.bfloat16).to_mkldnn()
            functional.conv2d(one, one)
        except RuntimeError:
            return False
    return True


def _from_c_library(name: str, otherwise: Callable[..., int]) -> Callable[..., int]:
    try:
        found: Callable[..., int] = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):  # not glibc
        return otherwise
    return found
