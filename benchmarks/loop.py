"""The loop with a human in it: `python -m benchmarks.loop CLIPS... [--corrections 5]`.

Every object of every clip is tracked from its first mask. Then the worst frame is corrected with its true mask, the
span that this can influence is tracked anew, and so on. The worst frame is chosen by our quality, by the truth, or at
random, among the frames that have a true mask. Prints the mean J&F over these frames after k corrections (a corrected
frame counts as right), and what a correction costs beside tracking the whole video again. Objects with fewer than 10
true masks are left out.
"""

from __future__ import annotations

import argparse
import os
import random
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from benchmarks.clips import AnnotatedClip, find_clips
from benchmarks.scores import BoolMask, score
from tam_backend import Prompt, Session, TrackAnything, open_video

# With fewer true masks than that, correcting them is all that changes.
_LEAST_FRAMES = 10

Choice = Callable[[Session, int, Mapping[int, BoolMask], set[int]], int]


@dataclass
class Outcome:
    """What was measured of one way to choose, over all objects.

    Args:
        scores: number of corrections -> J&F in percent, one per object.
        seconds: of each correction's update.
        shares: the frames that each update gave, of the video's.
        ratios: the seconds of each update, of those that tracking the whole video took.
    """

    scores: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    seconds: list[float] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)


def by_quality(session: Session, object_id: int, truth: Mapping[int, BoolMask], done: set[int]) -> int:
    """The frame that `Session.suggest` names first, of those with a true mask; else the one of least quality."""
    left = truth.keys() - done
    for each in session.suggest(len(session.video)):
        if each.frame in left:
            return each.frame
    qualities = session.tracks.qualities(object_id)
    return min(left, key=lambda frame: qualities[frame])


def by_truth(session: Session, object_id: int, truth: Mapping[int, BoolMask], done: set[int]) -> int:
    """The frame of least J&F."""
    return min(truth.keys() - done, key=lambda frame: _judged(session, object_id, frame, truth[frame]))


def at_random(session: Session, object_id: int, truth: Mapping[int, BoolMask], done: set[int]) -> int:
    """Any frame; the same ones in every run."""
    return random.Random(f"{session.video.name} {object_id} {len(done)}").choice(sorted(truth.keys() - done))


CHOICES: dict[str, Choice] = {"quality": by_quality, "truth": by_truth, "random": at_random}


def _judged(session: Session, object_id: int, frame: int, truth: BoolMask) -> float:
    return 100 * score(session.tracks[frame].masks[object_id], truth).mean


def correct(
    tam: TrackAnything, clip: AnnotatedClip, object_id: int, choice: Choice, corrections: int, outcome: Outcome
) -> None:
    """Track one object, and correct it again and again."""
    start = clip.starts[object_id]
    truth = {at: clip.ids(at) == object_id for at in clip.judged(object_id)}
    if len(truth) < _LEAST_FRAMES:
        return
    with open_video(list(clip.frames)) as video, tam.session(video) as session:
        session.prompt(Prompt(object_id=object_id, frame=start, mask=clip.ids(start) == object_id))
        began = time.perf_counter()
        list(session.propagate())
        full = time.perf_counter() - began
        done: set[int] = set()
        for count in range(corrections + 1):
            outcome.scores[count].append(
                float(np.mean([_judged(session, object_id, at, mask) for at, mask in truth.items()]))
            )
            if count == corrections or not truth.keys() - done:
                continue
            frame = choice(session, object_id, truth, done)
            done.add(frame)
            session.prompt(Prompt(object_id=object_id, frame=frame, mask=truth[frame]))
            began = time.perf_counter()
            updated = {result.frame for result in session.update()}
            outcome.seconds.append(time.perf_counter() - began)
            outcome.shares.append(len(updated) / len(video))
            outcome.ratios.append(outcome.seconds[-1] / full)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--corrections", type=int, default=5)
    parser.add_argument("--profile", default="compact")
    parser.add_argument("--choices", nargs="+", choices=tuple(CHOICES), default=tuple(CHOICES))
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    tam = TrackAnything.load(arguments.profile)
    clips = find_clips(arguments.folders)
    print(f"{len(clips)} clips, profile {arguments.profile}, load {os.getloadavg()[0]:.1f}")
    print(
        "J&F, percent, after corrections of the worst frame; frames and seconds of an update beside the whole video's"
    )
    print(
        f"{'chosen by':<10}"
        + "".join(f"{count:>7}" for count in range(arguments.corrections + 1))
        + "   frames  seconds"
    )
    for name in arguments.choices:
        outcome = Outcome()
        for clip in clips:
            for object_id in clip.starts:
                correct(tam, clip, object_id, CHOICES[name], arguments.corrections, outcome)
        means = "".join(f"{np.mean(outcome.scores[count]):>7.1f}" for count in range(arguments.corrections + 1))
        print(f"{name:<10}{means}{np.mean(outcome.shares):>8.0%}{np.mean(outcome.ratios):>9.0%}", flush=True)


if __name__ == "__main__":
    main()
