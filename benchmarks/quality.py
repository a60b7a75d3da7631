"""Accuracy on real clips, tracked from masks or clicks: `python -m benchmarks.quality ../shared/clips`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from benchmarks.baselines import Baseline, repeat_first, warp_by_flow
from benchmarks.clips import AnnotatedClip, find_clips
from benchmarks.cut_away import track_cut_away
from benchmarks.hard_kinds import Judged, JudgedMask, judge
from benchmarks.hard_tables import HardKinds, absence_rows
from benchmarks.long_video import drift, print_drift
from benchmarks.scores import BoolMask, Score, region_similarity, score
from benchmarks.tables import CLICKS, ClickRow, TrackingRow, print_clicks, print_tracking, tracking_rows
from tam_backend import Prompt, Session, TrackAnything, open_video
from tam_backend.adaptation.simulated_clicks import next_click


@dataclass
class Touched:
    """How many tracked masks there were, and how many of them the segmenter refined."""

    masks: int = 0
    refined: int = 0


def track(
    tam: TrackAnything,
    clip: AnnotatedClip,
    clicks: int = 0,
    refine: bool | None = None,
    touched: Touched | None = None,
    hard: dict[int, list[JudgedMask]] | None = None,
) -> dict[int, list[Score]]:
    """Track all objects of a clip in one pass and judge each.

    Args:
        tam: the networks.
        clip: with masks.
        clicks: simulated clicks on each object's first mask; 0 = the mask itself is given.
        refine: whether doubtful masks are refined; None: as the networks were loaded.
        touched: is told of every mask.
        hard: is given every judged mask by its object, for the tables of hard kinds.

    Returns:
        Object id -> one score per judged frame; objects with a single mask have none.
    """
    scores: dict[int, list[Score]] = {object_id: [] for object_id in clip.starts}
    judged = {object_id: set(clip.judged(object_id)) for object_id in scores}
    with open_video(list(clip.frames)) as video, tam.session(video) as session:
        for object_id, start in clip.starts.items():
            truth = clip.ids(start) == object_id
            if clicks:
                click_until(session, object_id, start, truth, clicks)
            else:
                session.prompt(Prompt(object_id=object_id, frame=start, mask=truth))
        for result in session.propagate(refine=refine):
            if touched is not None:
                touched.masks += sum(source != "prompt" for source in result.source.values())
                touched.refined += sum(source == "refined" for source in result.source.values())
            for object_id, frames in judged.items():
                if result.frame in frames:
                    truth = clip.ids(result.frame) == object_id
                    scores[object_id].append(score(result.masks[object_id], truth))
                    if hard is not None:
                        judgement = judge(object_id, truth, result.masks, result.quality[object_id])
                        hard.setdefault(object_id, []).append(judgement)
    return scores


def click_until(session: Session, object_id: int, frame: int, truth: BoolMask, clicks: int) -> list[float]:
    """Click into the largest error, again and again. Returns the IoU after each click (the last repeats if done)."""
    answer = np.zeros_like(truth)
    ious: list[float] = []
    for _ in range(clicks):
        click = next_click(truth, answer)
        if click is not None:
            # The middle of the pixel, in the coordinates of prompts.
            point = (click.x + 0.5, click.y + 0.5, click.positive)
            answer = session.prompt(Prompt(object_id=object_id, frame=frame, points=[point])).array
        ious.append(region_similarity(answer, truth))
    return ious


def click_rows(tam: TrackAnything, clip: AnnotatedClip, most_frames: int = 5) -> ClickRow:
    """Click every object on some of the annotated frames, spread over the clip."""
    chosen = [at for at, ids in clip.ids_at.items() if ids]
    picks = sorted({chosen[round(i)] for i in np.linspace(0, len(chosen) - 1, min(most_frames, len(chosen)))})
    ious = []
    with open_video(list(clip.frames)) as video:
        for at in picks:
            for object_id in sorted(clip.ids_at[at]):
                with tam.session(video) as session:
                    ious.append(click_until(session, object_id, at, clip.ids(at) == object_id, max(CLICKS)))
    after = np.mean(ious, 0)
    return ClickRow(clip.name, len(ious), tuple(100 * float(after[n - 1]) for n in CLICKS))


def cycle_consistency(tam: TrackAnything, clip: AnnotatedClip, object_id: int) -> float:
    """Track to the end of the clip and, from the mask found there, back again: J of what arrives, in percent.

    Needs no mask but the first. 0 if nothing was left at the end.
    """
    start = clip.starts[object_id]
    truth = clip.ids(start) == object_id
    with open_video(list(clip.frames)) as video:
        with tam.session(video) as session:
            session.prompt(Prompt(object_id=object_id, frame=start, mask=truth))
            *_, last = (result for result in session.propagate(start) if result.frame >= start)
        if not last.masks[object_id].any():
            return 0.0
        with tam.session(video) as session:
            session.prompt(Prompt(object_id=object_id, frame=last.frame, mask=last.masks[object_id]))
            for result in session.propagate(start):
                if result.frame == start:
                    return 100 * region_similarity(result.masks[object_id], truth)
    raise AssertionError("propagation left out a frame")


def baseline_scores(clip: AnnotatedClip, baseline: Baseline) -> dict[int, list[Score]]:
    """Judge a baseline, object by object, on the same frames."""
    scores: dict[int, list[Score]] = {}
    for object_id, start in clip.starts.items():
        judged = set(clip.judged(object_id))
        first = clip.ids(start) == object_id
        masks = baseline(clip, first, start) if judged else ()
        scores[object_id] = [score(m, clip.ids(at) == object_id) for at, m in masks if at in judged]
    return scores


@dataclass
class Tracked:
    """What tracking all clips in all ways gave.

    Args:
        rows: of the table of J and F.
        touched: method -> how many masks were refined.
        judged: method -> clips' names, and the judged masks of their objects; those are kept for hard kinds only.
    """

    rows: list[TrackingRow] = field(default_factory=list)
    touched: dict[str, Touched] = field(default_factory=dict)
    judged: dict[str, list[tuple[str, Judged]]] = field(default_factory=dict)

    def show(self) -> None:
        """Print the table, and how much was refined."""
        if self.rows:
            print_tracking(self.rows)
            for name, each in self.touched.items():
                print(f"{name}: {each.refined} of {each.masks} masks refined ({each.refined / max(1, each.masks):.1%})")


def track_all(tam: TrackAnything, clips: Sequence[AnnotatedClip], options: argparse.Namespace) -> Tracked:
    """Track all clips in all ways that the command's options name."""
    tracked = Tracked()
    for clip in clips:
        for start in filter(None, options.starts.split(",")):
            clicks = 0 if start == "mask" else int(start)
            method = "first mask given" if clicks == 0 else f"{clicks} click{'s' if clicks > 1 else ''}"
            for refine in options.refine or ("",):
                name = f"{method}, refine {refine}" if refine else method
                touched = tracked.touched.setdefault(name, Touched())
                hard: dict[int, list[JudgedMask]] | None = {} if options.hard else None
                scores = track(tam, clip, clicks, refine == "on" if refine else None, touched, hard)
                tracked.rows += tracking_rows(clip.name, name, scores)
                if hard:
                    tracked.judged.setdefault(name, []).append((clip.name, hard))
        if not options.no_baselines:
            tracked.rows += tracking_rows(clip.name, "repeat first mask", baseline_scores(clip, repeat_first))
            tracked.rows += tracking_rows(clip.name, "flow warp", baseline_scores(clip, warp_by_flow))
    return tracked


def hard_kinds(
    tam: TrackAnything, clips: Sequence[AnnotatedClip], judged: Mapping[str, Sequence[tuple[str, Judged]]]
) -> HardKinds:
    """Sum up what was judged, and track every clip once more with the next one of the list cut in, if there is one."""
    kinds = HardKinds.of(judged)
    if len(clips) > 1:
        followed = zip(clips, (*clips[1:], clips[0]), strict=True)
        cut_in = [(clip.name, track_cut_away(tam, clip, foreign)) for clip, foreign in followed]
        kinds.absence.extend(absence_rows("mask, another clip cut in", cut_in))
    return kinds


def cycles_of(tam: TrackAnything, clips: Sequence[AnnotatedClip]) -> list[tuple[str, int, float]]:
    """Track every object forth and back, and print as it comes: clip, object, J in percent."""
    print(f"\n{'clip':<14}{'object':>7}   J forth and back")
    cycles = []
    for clip in clips:
        for object_id in clip.starts:
            cycles.append((clip.name, object_id, cycle_consistency(tam, clip, object_id)))
            print(f"{clip.name:<14}{object_id:>7}{cycles[-1][2]:>9.1f}", flush=True)
    return cycles


def _options(arguments: Iterable[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, help="clips, folders of clips, or DAVIS-like data sets")
    parser.add_argument("--profile", default="compact")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--size", type=int, help="shorter side of tracked frames; default: the profile's")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--starts", default="mask,1,3", help="how tracking starts: mask, or so many clicks; comma; empty: not at all"
    )
    parser.add_argument(
        "--refine",
        choices=("on", "off"),
        nargs="+",
        default=(),
        help="refine doubtful masks or not; both: a row for each. Default: as the profile does",
    )
    parser.add_argument("--no-baselines", action="store_true")
    parser.add_argument("--no-clicks", action="store_true", help="leave out the click segmenter's table")
    parser.add_argument("--cycle", action="store_true", help="also track forth and back, which needs no masks")
    parser.add_argument(
        "--hard", action="store_true", help="also judge thin parts, holes, several objects and absence by themselves"
    )
    parser.add_argument(
        "--drift",
        type=int,
        metavar="FRAMES",
        help="also track the first object of each clip over so many frames, forth and back; 1000 tells enough",
    )
    parser.add_argument("--json", type=Path, help="write the rows there too")
    options = parser.parse_args(None if arguments is None else list(arguments))

    if options.drift is not None and options.drift < 10:
        parser.error(f"--drift {options.drift}: its first and last tenths need 10 frames at least.")
    return options


def main(arguments: Iterable[str] | None = None) -> None:
    """Measure and print."""
    options = _options(arguments)
    torch.set_num_threads(options.threads)
    clips = find_clips(options.folders)
    tam = TrackAnything.load(options.profile, device=options.device, tracker_side=options.size)
    print(f"{tam.models.version} on {tam.models.device}, {options.threads} threads, {len(clips)} clips\n")
    tracked = track_all(tam, clips, options)
    tracked.show()
    kinds = hard_kinds(tam, clips, tracked.judged) if options.hard else None
    if kinds:
        kinds.show()
    clicked = [] if options.no_clicks else [click_rows(tam, clip) for clip in clips]
    if clicked:
        print()
        print_clicks(clicked)
    cycles = cycles_of(tam, clips) if options.cycle else []
    drifts = [drift(tam, clip, min(clip.starts), options.drift) for clip in clips] if options.drift else []
    if drifts:
        print()
        print_drift(drifts)
    if options.json:
        report = {
            "version": tam.models.version,
            "tracking": [asdict(row) for row in tracked.rows],
            "clicks": [asdict(row) for row in clicked],
            "cycles": cycles,
            "hard": asdict(kinds) if kinds else None,
            "drift": [asdict(row) for row in drifts],
        }
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
