"""`tam-backend track` without its command line: a video and prompts in, a folder of masks out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tam_backend.engine import TrackAnything
from tam_backend.errors import InvalidInputError
from tam_backend.export import OverlayWriter, load_mask, save_index_mask
from tam_backend.pipeline.prefetch import Behind
from tam_backend.pipeline.session import Session
from tam_backend.types import FrameResult, Prompt, Source, Timing, VideoSource

# Overlay videos of image folders, which have no clock.
DEFAULT_FPS = 24.0


@dataclass(frozen=True)
class TrackedFrame:
    """One object on one frame, as result.json tells it."""

    frame: int
    quality: float
    area: int
    refined: bool
    source: Source


@dataclass(frozen=True)
class TrackingReport:
    """What was done.

    Args:
        frames: how many frames were tracked.
        size_hw: (height, width) of the masks.
        tracks: object id -> its frames in ascending order.
        timing: where the seconds went.
    """

    frames: int
    size_hw: tuple[int, int]
    tracks: dict[int, tuple[TrackedFrame, ...]]
    timing: Timing


def track(
    tam: TrackAnything,
    video: VideoSource,
    prompts: Sequence[Prompt],
    out: Path,
    *,
    start: int = 0,
    stop: int | None = None,
    on_frame: Callable[[int], None] = lambda _frame: None,
) -> TrackingReport:
    """Track and write `out`/masks/00000.png .. and `out`/result.json.

    Args:
        tam: the networks.
        video: the video; stays open.
        prompts: at least one.
        out: the folder; made if missing, masks and overlay of an earlier run are removed.
        start: first frame.
        stop: one past the last frame; None = the video's end.
        on_frame: called with the index of each frame when its masks are known.

    Raises:
        InvalidInputError: `out` cannot be written to.
        TamError: what `Session.prompt` and `Session.propagate` raise.
    """
    began_s = time.perf_counter()
    folder = _empty_folder(out)
    rows: dict[int, list[TrackedFrame]] = {}
    with tam.session(video) as session:
        for prompt in prompts:
            session.prompt(prompt)
        frames = 0
        with Behind() as writer:
            for result in session.propagate(start, stop):
                writer.do(partial(save_index_mask, folder / f"{result.frame:05d}.png", result.masks))
                for object_id in result.masks:
                    rows.setdefault(object_id, []).append(_row(result, object_id))
                frames += 1
                on_frame(result.frame)
        report = TrackingReport(
            frames=frames,
            size_hw=video.size_hw,
            tracks={
                object_id: tuple(sorted(track, key=lambda row: row.frame)) for object_id, track in sorted(rows.items())
            },
            timing=replace(session.timing, total_s=time.perf_counter() - began_s),
        )
        (out / "result.json").write_text(json.dumps(_as_json(tam, session, report), indent=1), encoding="utf-8")
    return report


def write_overlay(video: VideoSource, report: TrackingReport, labels: dict[int, str], out: Path) -> Path:
    """Draw the written masks of `out` over the video, to `out`/overlay.mp4, and return that path."""
    path = out / "overlay.mp4"
    frames = sorted({row.frame for track in report.tracks.values() for row in track})
    with OverlayWriter(path, report.size_hw, video.fps or DEFAULT_FPS) as writer:
        for frame in frames:
            written = out / "masks" / f"{frame:05d}.png"
            masks = {object_id: load_mask(written, object_id) for object_id in report.tracks}
            writer.write(video[frame], masks, labels)
    return path


def _empty_folder(out: Path) -> Path:
    """Make `out`/masks, without what an earlier run left: a mask of another run is worse than none."""
    folder = out / "masks"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in (*folder.glob("[0-9]*.png"), out / "overlay.mp4", out / "result.json"):
            old.unlink(missing_ok=True)
    except OSError as error:
        raise InvalidInputError(
            f"Masks cannot be written to {out}: {error.strerror}.", "Name a folder with --out that you may write to."
        ) from error
    return folder


def _row(result: FrameResult, object_id: int) -> TrackedFrame:
    source = result.source[object_id]
    return TrackedFrame(
        frame=result.frame,
        quality=round(result.quality[object_id], 4),
        area=int(np.count_nonzero(result.masks[object_id])),
        refined=source == "refined",
        source=source,
    )


def _as_json(tam: TrackAnything, session: Session, report: TrackingReport) -> dict[str, Any]:
    return {
        "profile": tam.models.profile,
        "frames": report.frames,
        "size": list(report.size_hw),
        "objects": [
            {"id": object_id, "label": session.labels[object_id], "frames": [asdict(row) for row in track]}
            for object_id, track in report.tracks.items()
        ],
        "timing": {part: round(seconds, 3) for part, seconds in asdict(report.timing).items()},
    }
