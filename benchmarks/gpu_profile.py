"""For one look on a GPU, not to stay: where SAM's encoder, the evidence and a session's threads spend their time."""

from __future__ import annotations

import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from segment_anything import sam_model_registry
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu import _clip, _ms, _write_official
from tam_backend.engine import TrackAnything
from tam_backend.models import captured
from tam_backend.models.segmenters import sam_attention
from tam_backend.models.segmenters.sam import SamSegmenter
from tam_backend.models.segmenters.sam_network import load_sam
from tam_backend.models.transfers import Transfer
from tam_backend.quality.mask_sums import MaskSums
from tam_backend.quality.meter import QualityMeter
from tam_backend.tracking import passes, propagation
from tam_backend.tracking.refinement import Refiner
from tam_backend.tracking.scaling import Scaling
from tam_backend.tracking.tracks import Tracks
from tam_backend.types import Prompt
from tam_backend.video import open_video

CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")
QUICK = "--quick" in sys.argv


def kernels(step: Callable[[], object], rows: int) -> None:
    for _ in range(5 if CUDA else 1):
        step()
    with profile(activities=[ProfilerActivity.CUDA if CUDA else ProfilerActivity.CPU]) as seen:
        for _ in range(3 if CUDA else 1):
            step()
        if CUDA:
            torch.cuda.synchronize()
    events = sorted(seen.key_averages(), key=lambda each: -getattr(each, "self_device_time_total", 0))
    total = sum(getattr(each, "self_device_time_total", 0) for each in events)
    print(f"   on the GPU {total / 3e3:.2f} ms a call")
    for each in events[:rows]:
        print(f"   {each.self_device_time_total / 3e3:8.3f} ms {each.count / 3:6.1f} x {each.key[:110]}")


def sam(variant: str, folder: Path) -> None:
    torch.manual_seed(0)
    plain = sam_model_registry[variant]()
    torch.save(plain.state_dict(), folder / f"{variant}.pth")
    frame = np.random.default_rng(0).integers(0, 255, (480, 853, 3), np.uint8)
    at_once, widened = sam_attention._BIASES_AT_ONCE, sam_attention.WidenedAttention
    plain_calls = captured._PLAIN_CALLS
    for way in ("widened, graph", "widened", "fused, all heads"):
        captured._PLAIN_CALLS = plain_calls if "graph" in way else 1 << 50
        if "widened" not in way:
            sam_attention._BIASES_AT_ONCE, sam_attention.WidenedAttention = 1 << 50, sam_attention.FusedAttention  # type: ignore[misc,assignment]
        ours = SamSegmenter(load_sam(folder / f"{variant}.pth", variant, DEVICE), variant, DEVICE)
        try:
            print(f"== {variant}, {way}: {_ms(lambda: ours.encode(frame), 12 if CUDA else 1, DEVICE):.2f} ms")  # noqa: B023
            if way != "widened":
                kernels(lambda: ours.encode(frame), 14)  # noqa: B023
        except Exception as error:
            print("   failed:", repr(error)[:500])
    sam_attention._BIASES_AT_ONCE, sam_attention.WidenedAttention = at_once, widened  # type: ignore[misc]
    captured._PLAIN_CALLS = plain_calls


def session(profile_name: str, objects: int, refine: bool | None, folder: Path, scenes: list[Any]) -> None:
    seconds: dict[str, list[float]] = defaultdict(list)

    def timed(owner: Any, name: str) -> None:
        function = getattr(owner, name)

        def call(*arguments: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                seconds[f"{owner.__name__}.{name}".split(".", 2)[-1]].append(time.perf_counter() - began)

        setattr(owner, name, call)
        undo.append((owner, name, function))

    undo: list[tuple[Any, str, Any]] = []
    tam = TrackAnything.load(profile_name, device=str(DEVICE), weights_folder=folder, refine=refine)
    with tam.session(open_video(folder / "clip")) as running:
        for each in range(1, objects + 1):
            running.prompt(Prompt(object_id=each, frame=0, mask=scenes[0].labels.numpy() == each))
        list(running.propagate(0, len(scenes) // 2))
        tracker = type(tam.models.new_tracker())
        for owner, name in (
            (passes.TrackerPass, "advance"), (passes.TrackerPass, "_sight"), (passes.Advance, "masks"),
            (tracker, "track"), (Scaling, "labels"), (Scaling, "image"), (QualityMeter, "look"),
            (QualityMeter, "judge"), (propagation, "disjoint"), (Tracks, "put"), (Transfer, "arrays"),
            (Refiner, "refine"),
        ):  # fmt: skip
            timed(owner, name)
        began = time.perf_counter()
        list(running.propagate())
        whole = time.perf_counter() - began
    for owner, name, function in undo:
        setattr(owner, name, function)
    print(f"== session {profile_name}, {objects} objects, refine {refine}: {whole / len(scenes) * 1e3:.2f} ms a frame")
    for name, times in sorted(seconds.items(), key=lambda each: -sum(each[1])):
        print(f"   {sum(times) / len(scenes) * 1e3:8.3f} ms a frame, {np.median(times) * 1e3:8.3f} a call: {name}")


def evidence(objects: int, scenes: list[Any]) -> None:
    tracker = TrackAnything.load("compact", device=str(DEVICE)).models.new_tracker()
    labels = torch.where(scenes[0].labels <= objects, scenes[0].labels, 0).to(DEVICE)
    tracker.track(scenes[0].image.to(DEVICE), labels, list(range(1, objects + 1)))
    step = tracker.track(scenes[1].image.to(DEVICE))
    sums = MaskSums()
    print(f"== evidence of {objects} objects: {_ms(lambda: sums.look(step), 12 if CUDA else 2, DEVICE):.3f} ms")
    kernels(lambda: sums.look(step), 16)


with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    scenes = _clip(folder / "clip", 120 if QUICK else 480, 6 if QUICK else 100)
    _write_official(folder)
    evidence(1, scenes)
    evidence(5, scenes)
    for objects in (1, 5):
        session("compact", objects, None, folder, scenes)
    for refine in (False, True):
        session("sam-vit-b+xmem", 2, refine, folder, scenes)
    for variant in ("vit_b",) if QUICK else ("vit_b", "vit_h"):
        sam(variant, folder)
