"""The loop with a human in it: `python -m benchmarks.loop CLIPS... [--clicks 8] [--start click]`.

Objects are tracked from their first mask, or from one click on it. Then a frame is chosen, a simulated annotator clicks
there until the mask is good, what this can influence is tracked anew, and so on while clicks are left. Frames are
chosen by what `Session.suggest` names, by least quality, evenly spread, by the truth, or at random, among those that
have a true mask. Prints the mean J&F over these frames after k clicks, and what each way has more than random choice,
object by object in pairs: the mean over 1 to k clicks, with a 95 % interval over clips. Objects with fewer than 10 true
masks are left out. With --tasks also what the same clicks bring if any of the videos may get the next one.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from benchmarks.annotator import visit
from benchmarks.clips import AnnotatedClip, find_clips
from benchmarks.kept_encodings import with_kept_encodings
from benchmarks.loop_choices import CHOICES, Choice, Scene
from benchmarks.loop_tasks import State, after_clicks, show_tasks
from benchmarks.machine import describe_machine
from benchmarks.quality import click_until
from benchmarks.scores import BoolMask, score
from benchmarks.tables import Estimate, estimate
from tam_backend import Prompt, Session, TrackAnything, open_video
from tam_backend.labelstudio.scores import task_score

# With fewer true masks than that, correcting them is all that changes.
LEAST_FRAMES = 10


@dataclass(frozen=True)
class Curve:
    """What clicks brought to one object.

    Args:
        clip, object_id: the object's.
        scores: J&F in percent after 0, 1, ... clicks.
        share: the frames that were tracked anew after a visit, of the video's, in the mean.
        course: before the first visit and after each; empty for a mean of several tries.
    """

    clip: str
    object_id: int
    scores: tuple[float, ...]
    share: float
    course: tuple[State, ...] = ()

    @property
    def mean(self) -> float:
        """Mean J&F over 1 click and more: how soon it gets how good."""
        return float(np.mean(self.scores[1:]))


def truth_of(clip: AnnotatedClip, object_id: int) -> dict[int, BoolMask]:
    """Return frame -> true mask of the frames that one object is judged on."""
    return {at: clip.ids(at) == object_id for at in clip.judged(object_id)}


def begin(session: Session, clip: AnnotatedClip, object_id: int, start: str) -> None:
    """Prompt an object on the frame that shows it first, by its "mask" or one "click"."""
    frame = clip.starts[object_id]
    mask = clip.ids(frame) == object_id
    if start == "click":
        click_until(session, object_id, frame, mask, clicks=1)
    else:
        session.prompt(Prompt(object_id=object_id, frame=frame, mask=mask))


def mean_score(session: Session, object_id: int, truth: Mapping[int, BoolMask]) -> float:
    """Return the mean J&F in percent over the frames with a true mask."""
    return 100 * float(np.mean([score(session.tracks[at].masks[object_id], mask).mean for at, mask in truth.items()]))


def correct(
    tam: TrackAnything, clip: AnnotatedClip, object_id: int, choice: Choice, options: argparse.Namespace, seed: int
) -> Curve:
    """Track one object, and correct it again and again while clicks are left."""
    truth, rng = truth_of(clip, object_id), random.Random(f"{clip.name} {object_id} {seed}")
    shares: list[float] = []
    done: set[int] = set()
    with open_video(list(clip.frames)) as video, tam.session(video) as session:
        begin(session, clip, object_id, options.start)
        list(session.propagate())
        course = [_state(session, object_id, truth, 0)]
        while course[-1].clicks < options.clicks and truth.keys() - done:
            frame = choice(Scene(session, object_id, truth, done, rng))
            done.add(frame)
            clicks = course[-1].clicks + visit(session, object_id, frame, truth[frame])
            shares.append(len({result.frame for result in session.update()}) / len(video))
            course.append(_state(session, object_id, truth, clicks))
    visits = [(after.clicks - before.clicks, after.score) for before, after in pairwise(course)]
    scores = after_clicks(course[0].score, visits, options.clicks)
    return Curve(clip.name, object_id, scores, float(np.mean(shares)), tuple(course))


def _state(session: Session, object_id: int, truth: Mapping[int, BoolMask], clicks: int) -> State:
    settled = session.keyframes(object_id)
    tracked = [value for at, value in session.tracks.qualities(object_id).items() if at not in settled]
    return State(
        clicks=clicks,
        score=mean_score(session, object_id, truth),
        masks=len(truth),
        gain=sum(each.gain for each in session.suggest(1)),
        worst=1.0 if (worst := task_score(tracked)) is None else worst,
        keyframes=len(settled),
    )


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """Return the mean of one object's curves; a single one as it is."""
    if len(curves) == 1:
        return curves[0]
    scores = tuple(float(value) for value in np.mean([each.scores for each in curves], 0))
    return Curve(curves[0].clip, curves[0].object_id, scores, float(np.mean([each.share for each in curves])))


def gain_over(curves: Sequence[Curve], others: Sequence[Curve]) -> Estimate:
    """Return what curves have more than others of the same objects, in pairs; every clip counts the same."""
    objects: dict[str, int] = defaultdict(int)
    for each in curves:
        objects[each.clip] += 1
    more = [each.mean - other.mean for each, other in zip(curves, others, strict=True)]
    return estimate(more, [1 / objects[each.clip] for each in curves], [each.clip for each in curves])


def objects_of(clips: Sequence[AnnotatedClip], most: int) -> list[tuple[AnnotatedClip, int]]:
    """Return the objects with enough true masks, at most so many of a clip."""
    found = []
    for clip in clips:
        own = [each for each in clip.starts if len(clip.judged(each)) >= LEAST_FRAMES]
        found += [(clip, each) for each in own[:most]]
    return found


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--clicks", type=int, default=8, help="to spend on each object")
    parser.add_argument("--start", choices=("mask", "click"), default="mask")
    parser.add_argument("--objects", type=int, default=3, help="of a clip, at most")
    parser.add_argument("--seeds", type=int, default=3, help="how often random choice is tried")
    parser.add_argument("--choices", nargs="+", choices=tuple(CHOICES), default=tuple(CHOICES))
    parser.add_argument("--tasks", action="store_true", help="also choose the video that gets the next click")
    parser.add_argument("--profile", default="compact")
    parser.add_argument("--size", type=int, help="shorter side of tracked frames; default: the profile's")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    if options.clicks < 1:
        parser.error(f"--clicks {options.clicks}: without a click there is nothing to choose.")
    if options.tasks and "suggested" not in options.choices:
        parser.error("--tasks follows what is suggested: name it among --choices.")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    options = _options(arguments)
    torch.set_num_threads(options.threads)
    tam, encodings = with_kept_encodings(TrackAnything.load(options.profile, tracker_side=options.size))
    objects = objects_of(find_clips(options.folders), options.objects)
    print(f"{len(objects)} objects, {tam.models.version}, from one {options.start}, {describe_machine()}", flush=True)
    print("mean J&F over 1 click and more, frames chosen by:")
    print(f"{'clip':<18}{'object':>7}" + "".join(f"{name:>11}" for name in options.choices), flush=True)
    began = time.perf_counter()
    curves: dict[str, list[Curve]] = defaultdict(list)
    tries: list[list[float]] = []
    for before, (clip, object_id) in zip([None, *objects], objects, strict=False):
        if before is None or before[0] is not clip:
            encodings.kept.clear()
        for name in options.choices:
            seeds = range(options.seeds if name == "random" else 1)
            found = [correct(tam, clip, object_id, CHOICES[name], options, seed) for seed in seeds]
            curves[name].append(mean_curve(found))
            if name == "random":
                tries.append([each.mean for each in found])
        row = "".join(f"{own[-1].mean:>11.1f}" for own in curves.values())
        print(f"{clip.name:<18}{object_id:>7}{row}", flush=True)
    _show(curves)
    if "random" in curves and options.seeds > 1:
        deviation = float(np.std(np.mean(tries, 0), ddof=1))
        print(f"\nrandom: standard deviation between the means of {options.seeds} tries {deviation:.1f}")
    if options.tasks:
        show_tasks([each.course for each in curves["suggested"]])
    print(f"{time.perf_counter() - began:.0f} s, {time.process_time():.0f} s of CPU, {describe_machine()}")


def _show(curves: Mapping[str, Sequence[Curve]]) -> None:
    clicks = len(next(iter(curves.values()))[0].scores)
    print("\nJ&F, percent, after clicks; frames tracked anew after a visit, of the video's")
    print(f"{'chosen by':<11}" + "".join(f"{count:>7}" for count in range(clicks)) + "   frames")
    for name, own in curves.items():
        means = "".join(f"{value:>7.1f}" for value in np.mean([each.scores for each in own], 0))
        print(f"{name:<11}{means}{np.mean([each.share for each in own]):>8.0%}")
    if "random" in curves:
        print("\nmore than random, mean over 1 click and more, every clip the same")
        for name, own in curves.items():
            if name != "random":
                more = gain_over(own, curves["random"])
                better = sum(each.mean > other.mean for each, other in zip(own, curves["random"], strict=True))
                print(f"{name:<11}{more.mean:>+7.1f}  {more.interval:<14} better on {better} of {len(own)} objects")


if __name__ == "__main__":
    main()
