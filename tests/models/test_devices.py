from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from tam_backend.errors import DeviceError
from tam_backend.models import devices
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


@pytest.mark.parametrize(
    ("says_so", "level", "computes", "fast"),
    [
        (True, "", True, True),
        (True, "AVX512_CORE_BF16", True, True),
        (True, "avx512_core_vnni", True, False),  # emulated
        (True, "AVX2", False, False),
        (True, "", False, False),  # a PyTorch without oneDNN
        (False, "", True, False),  # AVX512 of the first years
    ],
)
@pytest.mark.parametrize("variable", ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"])
def test_convolutions_are_bfloat16_only_where_that_is_fast(
    variable: str, says_so: bool, level: str, computes: bool, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.setenv(variable, level)
    monkeypatch.setattr(devices, "has_bfloat16_instructions", lambda: says_so)
    monkeypatch.setattr(devices, "_onednn_computes_bfloat16", lambda: computes)
    assert has_fast_bfloat16(torch.device("cpu")) is fast
    assert fast_dtype(torch.device("cpu")) == (torch.bfloat16 if fast else torch.float32)
    with fast_precision(torch.device("cpu")):
        out = torch.nn.Conv2d(1, 1, 1)(torch.ones(1, 1, 2, 2))
    assert out.dtype == (torch.bfloat16 if fast else torch.float32)


def test_where_onednn_was_told_to_emulate_bfloat16_it_is_not_fast() -> None:
    program = (
        "import torch\n"
        "from tam_backend.models.devices import has_fast_bfloat16\n"
        "print(has_fast_bfloat16(torch.device('cpu')))\n"
    )
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("False", 0), done.stderr[-2000:]


def test_a_gpu_without_bfloat16_takes_the_other_half_whichever_gpu_is_the_current_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    capabilities = {None: (7, 5), 0: (7, 5), 1: (8, 6)}
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capabilities[device.index])
    assert [fast_dtype(torch.device(name)) for name in ("cuda", "cuda:0")] == [torch.float16] * 2
    assert fast_dtype(torch.device("cuda:1")) == torch.bfloat16
    assert fast_dtype(torch.device("mps")) == torch.float32


def test_all_gpus_of_amd_have_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "hip", "6.2")
    assert has_fast_bfloat16(torch.device("cuda:1"))


def test_a_thread_takes_cores_for_itself_alone() -> None:
    before = torch.get_num_threads()
    with ThreadPoolExecutor(1, initializer=devices.take_cores, initargs=(before + 1,)) as other:
        assert other.submit(torch.get_num_threads).result() == before + 1
        with ThreadPoolExecutor(1) as later:
            assert later.submit(torch.get_num_threads).result() == before
    assert torch.get_num_threads() == before


def test_threads_that_take_cores_side_by_side_leave_all_others_theirs() -> None:
    before = torch.get_num_threads()
    for _ in range(20):
        both = threading.Barrier(2, timeout=30)

        def take(both: threading.Barrier = both) -> None:
            both.wait()
            devices.take_cores(before + 1)

        threads = [threading.Thread(target=take) for _ in range(2)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    with ThreadPoolExecutor(1) as later:
        assert later.submit(torch.get_num_threads).result() == before


def test_freed_memory_is_given_back_where_the_c_library_can() -> None:
    held = torch.ones(1000)
    give_back_freed_memory()
    assert held.sum() == 1000


_PAGES_ASKED_FOR_AGAIN = """
import resource, sys, torch
from tam_backend.models.devices import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

before = faults()
for _ in range(5):
    for megabytes in (48, 44, 40):
        torch.empty(megabytes * 2**18).fill_(1)
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left alone")
def test_large_memory_that_was_freed_is_used_again() -> None:
    asked = [
        int(subprocess.run([sys.executable, "-c", _PAGES_ASKED_FOR_AGAIN, how], capture_output=True, check=True).stdout)
        for how in ("given back", "kept")
    ]
    assert asked[1] < asked[0] / 2


_POOLS_AFTER_TWELVE_THREADS = """
import ctypes, re, sys, threading
from tam_backend.models.devices import let_threads_share_memory
library = ctypes.CDLL(None)
library.fopen.restype = ctypes.c_void_p
library.malloc.restype = ctypes.c_void_p

def pools():
    stream = ctypes.c_void_p(library.fopen(sys.argv[2].encode(), b"w"))
    library.malloc_info(0, stream)
    library.fclose(stream)
    return len(re.findall("<heap nr=", open(sys.argv[2]).read()))

def begin():
    library.malloc(1000)
    together.wait(20)

before, together = pools(), threading.Barrier(12)
if sys.argv[1] == "shared":
    let_threads_share_memory()
threads = [threading.Thread(target=begin) for _ in range(12)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(pools() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left alone")
def test_threads_share_what_they_free(tmp_path: Path) -> None:
    grown = [
        int(
            subprocess.run(
                [sys.executable, "-c", _POOLS_AFTER_TWELVE_THREADS, how, str(tmp_path / "pools.xml")],
                env={key: value for key, value in os.environ.items() if key != "MALLOC_ARENA_MAX"},
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        for how in ("apart", "shared")
    ]
    assert grown[0] > 0  # or this tells nothing
    assert grown[1] == 0
