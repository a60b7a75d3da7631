"""Milliseconds a frame by part, on a GPU or where there is none on the CPU: `python -m benchmarks.gpu [--quick]`.

A clip is drawn and written as JPEG files of 480x853. For each profile and number of objects: the whole session (files
in, masks out), what its own clock says of it, the tracker alone, and each part that works beside it, on its own and
waited for. For SAM: from a frame to its embedding, and a click on it. Official weights are random ones in the official
layout, so times are right and masks are not.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import torch
from segment_anything import sam_model_registry

from benchmarks.lively_weights import lively_network
from benchmarks.speed import Scene, scene
from tam_backend.engine import TrackAnything
from tam_backend.models.protocols import SegmenterPrompts
from tam_backend.models.sam_variants import SAM_VARIANTS
from tam_backend.models.segmenters.sam import SamSegmenter
from tam_backend.models.segmenters.sam_network import load_sam
from tam_backend.models.transfers import Transfer
from tam_backend.quality.meter import QualityMeter
from tam_backend.session.session import Session
from tam_backend.tracking.passes import TrackedMask
from tam_backend.tracking.propagation import disjoint
from tam_backend.tracking.scaling import Scaling
from tam_backend.types import EncodedMask, FrameResult, Mask, Point, Prompt, VideoSource
from tam_backend.video import open_video

SIDE = 480
_PUBLISHED = {"vit_b": "sam_vit_b_01ec64.pth", "vit_h": "sam_vit_h_4b8939.pth"}


def main(asked: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few frames, of 240 rows: does it run?")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only", choices=["compact", "sam-vit-b+xmem", "sam"], help="one block of rows")
    arguments = parser.parse_args(asked)
    device = torch.device(arguments.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"{name}, PyTorch {torch.__version__}", flush=True)
    side, frames = (240, 3) if arguments.quick else (SIDE, 150)
    with tempfile.TemporaryDirectory() as folder:
        scenes = _clip(Path(folder) / "clip", side, frames)
        if arguments.only in (None, "compact"):
            for objects in (2,) if arguments.quick else (1, 5):
                _profile("compact", objects, None, Path(folder), scenes, device)
        if arguments.only in (None, "sam-vit-b+xmem"):
            _write_official(Path(folder))
            for refine in (False, True):
                _profile("sam-vit-b+xmem", 2, refine, Path(folder), scenes, device)
        if arguments.only in (None, "sam"):
            for variant in ("vit_b",) if arguments.quick else ("vit_b", "vit_h"):
                _sam(variant, Path(folder), scenes[0], device, 1 if arguments.quick else 15)


def _clip(folder: Path, side: int, frames: int) -> list[Scene]:
    folder.mkdir()
    scenes = [scene(index, 5, side) for index in range(frames)]
    for index, shown in enumerate(scenes):
        cv2.imwrite(
            str(folder / f"{index:05d}.jpg"), (shown.image.permute(1, 2, 0).numpy()[..., ::-1] * 255).astype(np.uint8)
        )
    return scenes


def _write_official(folder: Path) -> None:
    torch.manual_seed(0)
    torch.save(lively_network().state_dict(), folder / "XMem-s012.pth")
    torch.save(sam_model_registry["vit_b"]().state_dict(), folder / _PUBLISHED["vit_b"])


def _profile(
    profile: str, objects: int, refine: bool | None, folder: Path, scenes: list[Scene], device: torch.device
) -> None:
    tam = TrackAnything.load(profile, device=str(device), weights_folder=folder, refine=refine)
    frames = len(scenes)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with closing(open_video(folder / "clip")) as video, tam.session(video) as session:
        for each in range(1, objects + 1):
            session.prompt(Prompt(object_id=each, frame=0, mask=scenes[0].labels.numpy() == each))
        list(session.propagate(0, frames // 2))  # all is warm then
        row = [f"{profile}, {objects} object(s)" + {None: "", False: ", refine off", True: ", refine on"}[refine]]
        row.append(_whole(session, frames))
        row += [f"{part} {_ms(step, frames, device):.2f}" for part, step in _parts(tam, video, objects, scenes)]
    if device.type == "cuda":
        row.append(f"peak {torch.cuda.max_memory_allocated(device) / 2**20:.0f} MB")
    print("; ".join(row), flush=True)


def _whole(session: Session, frames: int) -> str:
    before, began_s = asdict(session.timing), time.perf_counter()
    refined = sum("refined" in result.source.values() for result in session.propagate())
    taken_s = time.perf_counter() - began_s
    of_it = {part: (seconds - before[part]) / frames * 1e3 for part, seconds in asdict(session.timing).items()}
    clock = ", ".join(f"{part.removesuffix('_s')} {of_it[part]:.2f}" for part in ("track_s", "decode_s", "segment_s"))
    return (
        f"whole session {taken_s / frames * 1e3:.2f} ms a frame = {frames / taken_s:.1f} frames/s"
        f" (its clock: {clock}; {refined} frames refined)"
    )


def _parts(
    tam: TrackAnything, video: VideoSource, objects: int, scenes: list[Scene]
) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield what a frame takes besides, one by one, on a tracker's answer."""
    models = tam.models
    scaling = Scaling(video.size_hw, models.tracker_side, models.device)
    image = scaling.image(video[0])
    given = {each: scenes[0].labels.numpy() == each for each in range(1, objects + 1)}
    tracker, meter = models.new_tracker(), QualityMeter(models.profile)
    tracker.track(image, scaling.index_mask(given), sorted(given))
    for _ in range(min(30, len(scenes))):
        step = tracker.track(image)
    (labels,) = Transfer(scaling.labels(step.probabilities)).arrays()
    tracked = {each: TrackedMask(Mask(labels == each, 0.5), "propagated") for each in given}
    result = disjoint(0, tracked)
    yield "tracker alone", lambda: tracker.track(image)
    yield "evidence asked for", lambda: meter.look(step)
    yield "evidence and verdict", lambda: meter.measure(step)
    yield "masks at the video's size", lambda: Transfer(scaling.labels(step.probabilities)).arrays()
    yield "read and upload", lambda: scaling.image(video[1])
    yield "disjoint", lambda: disjoint(0, tracked)
    yield "run lengths", lambda: _encoded(result)


def _encoded(result: FrameResult) -> list[EncodedMask]:
    return [EncodedMask.of(mask) for mask in result.masks.values()]


def _sam(variant: str, folder: Path, shown: Scene, device: torch.device, count: int) -> None:
    torch.manual_seed(0)
    plain = sam_model_registry[variant]()
    path = folder / f"plain_{variant}.pth"
    torch.save(plain.state_dict(), path)
    segmenter = SamSegmenter(load_sam(path, SAM_VARIANTS[variant], device), variant, device)
    plain = plain.to(device).eval()
    square = torch.randn(1, 3, 1024, 1024, device=device)
    frame = np.ascontiguousarray((shown.image.permute(1, 2, 0).numpy() * 255).astype(np.uint8))
    click = SegmenterPrompts(points=(Point(300, 200, True),))

    def packages() -> None:
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            plain.image_encoder(square)

    embedding = segmenter.encode(frame)
    print(
        f"SAM {variant}: the package's encoder {_ms(packages, count, device):.1f} ms; ours, from the frame "
        f"{_ms(lambda: segmenter.encode(frame), count, device):.1f}; "
        f"a click {_ms(lambda: segmenter.segment(embedding, click), count, device):.1f}",
        flush=True,
    )


def _ms(step: Callable[[], object], count: int, device: torch.device) -> float:
    """Return the median of a step's milliseconds, the device waited for each time; the first ones are left out."""
    times, left_out = [], min(count, 5)
    for _ in range(count + left_out):
        began_s = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - began_s)
    return statistics.median(times[left_out:]) * 1e3


if __name__ == "__main__":
    main()
