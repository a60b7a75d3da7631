"""`track`: a video and prompts -> masks, without Label Studio."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from tam_backend.cli.command_line import app
from tam_backend.cli.common import (
    Device,
    Overwrite,
    Profile,
    console,
    progress_bar,
    say_note,
    settings_with,
    told_when_stopped,
)
from tam_backend.errors import FrameOutOfRangeError, printable
from tam_backend.settings import MAX_TRACKER_SIDE, MIN_TRACKER_SIDE


@app.command()
def track(  # noqa: PLR0917 - typer makes options of them, whatever their order
    source: Annotated[str, typer.Argument(metavar="INPUT", help="A video file, or a folder of images.")],
    prompts: Annotated[Path, typer.Option(help="prompts.json, or an image that is the mask of frame 0.")],
    out: Annotated[Path, typer.Option(help="Folder for masks/, result.json and overlay.mp4.")],
    profile: Profile = None,
    device: Device = None,
    weights_dir: Annotated[
        Path | None, typer.Option(help="Folder of the weights of profiles that need some; default TAM_WEIGHTS_DIR.")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            min=MIN_TRACKER_SIDE, max=MAX_TRACKER_SIDE, help="Shorter side of tracked frames, pixels; default 480."
        ),
    ] = None,
    refine: Annotated[
        bool | None,
        typer.Option(
            "--refine/--no-refine", help="Let the segmenter refine doubtful masks; default: as the profile does."
        ),
    ] = None,
    overlay: Annotated[bool, typer.Option("--overlay", help="Also write overlay.mp4.")] = False,
    overwrite: Overwrite = False,
    frames: Annotated[str, typer.Option(metavar="A:B", help="Only frames A up to, but not including, B.")] = ":",
) -> None:
    """Track the prompted objects through a video and write one indexed PNG mask per frame."""
    from tam_backend.prompt_file import read_prompts
    from tam_backend.video import open_video

    settings = settings_with(
        {"profile": profile, "device": device, "weights_dir": weights_dir, "tracker_side": size, "refine": refine}
    )
    start, stop = _frame_range(frames)
    so_far = _SoFar(out)
    with told_when_stopped(so_far.sentence), open_video(source) as video:
        wanted = read_prompts(prompts, say_note)
        length = len(video)
        with console.status("Loading the networks ..."):
            from tam_backend.engine import TrackAnything
            from tam_backend.tracking_run import out_folder, write_overlay
            from tam_backend.tracking_run import track as run

            folder = out_folder(out, overwrite=overwrite)
            tam = TrackAnything.load(
                settings.profile, settings.device, settings.weights_folder, settings.tracker_side, settings.refine
            )
        with progress_bar() as progress:
            so_far.total = len(range(length)[start:stop])
            task = progress.add_task("tracking", total=so_far.total)

            def tracked(frame: int) -> None:  # noqa: ARG001 - frames may come in any order
                so_far.done += 1
                progress.advance(task)

            report = run(tam, video, wanted, folder, start=start, stop=stop, on_frame=tracked)
            so_far.is_written = True
        if overlay:
            with console.status("Writing overlay.mp4 ..."):
                labels = {prompt.object_id: prompt.label or f"object {prompt.object_id}" for prompt in wanted}
                write_overlay(video, report, labels, folder)
    for frame, reason in report.left_out.items():
        say_note(f"Frame {frame} was left out: {reason}")
    timing, place = report.timing, printable(str(out))
    console.print(
        f"{report.frames} frames, {len(report.tracks)} object(s) in {timing.total_s:.1f} s "
        f"(tracking {timing.track_s:.1f} s, {report.frames / max(timing.track_s, 1e-9):.1f} frames/s): {place}",
        markup=False,
    )


@dataclass
class _SoFar:
    """How far `track` has come.

    Args:
        out: its folder.
        done, total: frames.
        is_written: masks and result.json are there.
    """

    out: Path
    done: int = 0
    total: int = 0
    is_written: bool = False

    def sentence(self) -> str:
        """Return what is told when somebody stops it."""
        if self.is_written:
            return f"All masks and result.json are in {self.out}; the overlay is not."
        if not self.done:
            return f"Nothing was tracked yet, and {self.out} is as it was. The same command begins anew."
        return (
            f"{self.done} of {self.total} frames were tracked: their masks are in {self.out / 'masks'}, without a "
            "result.json. The same command begins anew; --frames A:B tracks fewer frames."
        )


def _frame_range(text: str) -> tuple[int, int | None]:
    """Read A:B as Python's slices do, without negative numbers."""
    first, colon, last = text.partition(":")
    if not colon or not all(part.strip().isdecimal() or not part.strip() for part in (first, last)):
        raise FrameOutOfRangeError(f"--frames {text!r} is not A:B.", "Give for instance 0:100, 50: or :30.")
    return int(first or 0), int(last) if last.strip() else None
