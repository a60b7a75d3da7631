"""`tam-backend track` without its command line: a video and prompts in, a folder of masks out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tam_backend.engine import TrackAnything
from tam_backend.export import OverlayWriter, load_mask, save_index_mask
from tam_backend.out_folder import OutFolder
from tam_backend.session.pursuit import reconcile
from tam_backend.session.session import Session
from tam_backend.tracking.prefetch import Behind
from tam_backend.types import FrameResult, Prompt, Source, Timing, VideoSource, timeline_of

# Overlay videos of image folders, which have no clock.
DEFAULT_FPS = 24.0

_MASKS, _RESULT, _OVERLAY = "masks", "result.json", "overlay.mp4"


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
        left_out: damaged frame -> what is wrong with it.
    """

    frames: int
    size_hw: tuple[int, int]
    tracks: dict[int, tuple[TrackedFrame, ...]]
    timing: Timing
    left_out: Mapping[int, str] = field(default_factory=dict)


def out_folder(out: Path, *, overwrite: bool = False) -> OutFolder:
    """Look through the folder that `track` and `write_overlay` write into.

    Raises:
        InvalidInputError: it cannot be written to, or files of others are in the way and `overwrite` was not said.
    """
    return OutFolder(out, files=(_RESULT, _OVERLAY), filled=(_MASKS,), overwrite=overwrite)


def track(
    tam: TrackAnything,
    video: VideoSource,
    prompts: Sequence[Prompt],
    out: OutFolder,
    *,
    start: int = 0,
    stop: int | None = None,
    on_frame: Callable[[int], None] = lambda _frame: None,
) -> TrackingReport:
    """Track and write masks/00000.png .. and result.json; damaged frames are left out, and named.

    Args:
        tam: the networks.
        video: the video; stays open.
        prompts: at least one.
        out: of `out_folder`; made if missing. What an earlier run wrote there is removed when there are masks.
        start: first frame.
        stop: one past the last frame; None = the video's end.
        on_frame: called with the index of each frame when its masks are known.

    Raises:
        InvalidInputError: `out` cannot be written to.
        TamError: what `reconcile` and `Session.propagate` raise.
    """
    began_s = time.perf_counter()
    rows: dict[int, list[TrackedFrame]] = {}
    with tam.session(video) as session:
        reconcile(session, prompts)
        frames = 0
        with Behind() as writer:
            for result in session.propagate(start, stop):
                if not frames:
                    out.clear()
                writer.do(partial(_write_masks, out, result))
                for object_id in result.masks:
                    rows.setdefault(object_id, []).append(_row(result, object_id))
                frames += 1
                on_frame(result.frame)
        if not frames:  # all were damaged
            out.clear()
        report = TrackingReport(
            frames=frames,
            size_hw=video.size_hw,
            tracks={
                object_id: tuple(sorted(track, key=lambda row: row.frame)) for object_id, track in sorted(rows.items())
            },
            timing=replace(session.timing, total_s=time.perf_counter() - began_s),
            left_out={frame: error.message for frame, error in session.unreadable.items()},
        )
        with out.writing(_RESULT) as path:
            path.write_text(json.dumps(_as_json(tam, session, report), indent=1), encoding="utf-8")
    return report


def write_overlay(video: VideoSource, report: TrackingReport, labels: dict[int, str], out: OutFolder) -> None:
    """Draw the masks that `track` wrote over the video, to overlay.mp4."""
    frames = sorted({row.frame for track in report.tracks.values() for row in track})
    timeline = timeline_of(video)
    with (
        out.writing(_OVERLAY) as path,
        OverlayWriter(path, report.size_hw, video.fps or DEFAULT_FPS) as writer,
    ):
        for frame in frames:
            written = out.path / _mask_name(frame)
            masks = {object_id: load_mask(written, object_id) for object_id in report.tracks}
            writer.write(video[frame], masks, labels, None if timeline is None else float(timeline.starts_s[frame]))


def _write_masks(out: OutFolder, result: FrameResult) -> None:
    with out.writing(_mask_name(result.frame)) as path:
        save_index_mask(path, result.masks)


def _mask_name(frame: int) -> str:
    return f"{_MASKS}/{frame:05d}.png"


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
    left_out = [{"frame": frame, "reason": reason} for frame, reason in report.left_out.items()]
    return {
        "profile": tam.models.profile,
        "frames": report.frames,
        "size": list(report.size_hw),
        "objects": [
            {"id": object_id, "label": session.labels[object_id], "frames": [asdict(row) for row in track]}
            for object_id, track in report.tracks.items()
        ],
        **({"left_out": left_out} if left_out else {}),
        "timing": {part: round(seconds, 3) for part, seconds in asdict(report.timing).items()},
    }
