"""Adaptation from beginning to end: `adapt`."""

from __future__ import annotations

import hashlib
import json
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from tam_backend.adaptation.courses import SEGMENTER, SHARES, SIDE, TRACKER, Course, part_of_the_way
from tam_backend.adaptation.gate import verdict
from tam_backend.adaptation.general import MEASURED, PRACTISED, general_clips
from tam_backend.adaptation.judging import Scores, score_all
from tam_backend.adaptation.kept_video import KeptVideo, keep, newest
from tam_backend.adaptation.labeled import LabeledVideo
from tam_backend.adaptation.learning import CHECKPOINT, Spell, write_whole, writing
from tam_backend.adaptation.outcome import (
    AdaptationLimits,
    AdaptationOutcome,
    CompactWeights,
    ComparedFrame,
    NetworkVerdict,
    Progress,
)
from tam_backend.adaptation.pictured import Answers, compared_frames
from tam_backend.adaptation.samples import Samples
from tam_backend.adaptation.splitting import Split, split, usable
from tam_backend.errors import CancelledError, InvalidInputError
from tam_backend.models.weights import fingerprint, record_fingerprint

Tell = Callable[[Progress], None]
Cancelled = Callable[[], bool]

_PLAN = "plan.json"
# However long measuring takes, so much of the time is for learning.
_LEAST_LEARNING = 0.25
# Each candidate is measured as the base was; some is left for pictures, and what else there is to do.
_MEASURED_AGAIN = len(SHARES) + 0.5
_WHEN = {1.0: "after it learnt", 0.5: "halfway to what it learnt"}


def adapt(
    videos: Sequence[LabeledVideo],
    base: CompactWeights,
    limits: AdaptationLimits,
    folder: Path,
    progress: Tell = lambda _: None,
    cancelled: Cancelled = lambda: False,
) -> AdaptationOutcome:
    """Learn from some of the videos, measure on the others, and say whether the new networks are better.

    Both networks' heads learn, one after the other, while their backbones stay as they are; a quarter of what they see
    are packaged clips. Judged are the learnt weights and those halfway to them.

    Args:
        videos: at least two with two masks each, those of older tasks first. Of two or three one is held out, of more
            about a third. Of more than time and memory hold the newest are taken.
        base: what to begin with, and to be better than.
        limits: of time and memory.
        folder: its own; made when needed. Holds the checkpoints, so that a call after a kill, with the same videos and
            base, goes on where the last one was; and the promoted weights. May be deleted when it is done.
        progress: is told of every step.
        cancelled: asked every few seconds.

    Raises:
        InvalidInputError: fewer than two videos to learn from, or two of one name; the remedy says what to do.
        WeightsError: `base` is missing, or of other networks.
        OutputError: the folder cannot be written: the disk is full.
        CancelledError: `cancelled` said so; the checkpoints stay, so that a later call goes on.
    """
    with _threads(limits.threads):
        return _Adaptation(videos, base, limits, folder, progress, cancelled).run()


class _Adaptation:
    """One call of `adapt`."""

    def __init__(
        self,
        videos: Sequence[LabeledVideo],
        base: CompactWeights,
        limits: AdaptationLimits,
        folder: Path,
        progress: Tell,
        cancelled: Cancelled,
    ) -> None:
        self._started = time.monotonic()
        self._videos = {each.name: each for each in videos}
        if len(self._videos) < len(videos):
            raise InvalidInputError("Two videos have one name.", "Give each a name of its own.")
        self._base = {SEGMENTER.file: base.segmenter, TRACKER.file: base.tracker}
        self._limits, self._folder, self._progress, self._cancelled = limits, folder, progress, cancelled
        self._notes: list[str] = []
        self._learning_spent_s = self._share = 0.0
        self._pictures: list[ComparedFrame] = []
        self._plan = _Plan(folder / _PLAN)

    def run(self) -> AdaptationOutcome:
        """Do all of it."""
        with writing(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
        kept = usable(self._read(), self._notes)
        chosen = split(kept)
        self._plan.begin(_key(kept, self._base.values()))
        judged_on = [self._videos[name] for name in chosen.held_out], general_clips(MEASURED)
        before = {course.file: self._before(course, *judged_on) for course in (SEGMENTER, TRACKER)}
        self._share_time()
        learnt = [each for each in kept if each.name in chosen.learnt_from]
        practised = [keep(each, self._limits.memory_bytes, []) for each in general_clips(PRACTISED)]
        samples = Samples(learnt, SIDE), Samples(practised, SIDE)
        verdicts, weights = {}, {}
        for course in (SEGMENTER, TRACKER):
            verdicts[course.file], weights[course.file] = self._learn(course, samples, before[course.file], judged_on)
        self._note_time()
        return self._outcome(chosen, verdicts, weights)

    def _read(self) -> list[KeptVideo]:
        taken = newest(list(self._videos.values()), self._limits, self._notes)
        share = self._limits.memory_bytes // max(1, len(taken))
        kept = []
        for labeled in taken:
            self._stop(f"reading {labeled.name}")
            kept.append(keep(labeled, share, self._notes))
        return kept

    def _before(
        self, course: Course, held_out: Sequence[LabeledVideo], general: Sequence[LabeledVideo]
    ) -> tuple[Scores, Scores]:
        """Return how good the base is on both; once measured it is kept."""
        known = self._plan.scores(course.file)
        if known is None:
            began = time.monotonic()
            base = course.loaded(self._base[course.file]).state_dict()
            known = self._measure(course, base, "before it learns", held_out, general)
            self._plan.keep_scores(course.file, known, time.monotonic() - began)
        return known

    def _measure(
        self,
        course: Course,
        weights: Mapping[str, Tensor],
        when: str,
        held_out: Sequence[LabeledVideo],
        general: Sequence[LabeledVideo],
    ) -> tuple[Scores, Scores]:
        network = _with(course, weights)

        def score(labeled: LabeledVideo) -> Mapping[int, float]:
            doing = f"measuring {course.what} {when}, on {labeled.name}"
            self._stop(doing)
            return course.score(network, labeled, lambda: self._stop(doing))

        return score_all(held_out, score, self._notes), score_all(general, score, self._notes)

    def _share_time(self) -> None:
        """Decide how long each network learns, once."""
        if self._plan.learning_s is None:
            left = self._limits.seconds - self._spent_s - _MEASURED_AGAIN * self._plan.measuring_s
            self._plan.keep_learning(max(_LEAST_LEARNING * self._limits.seconds, left) / 2)

    def _note_time(self) -> None:
        self._notes.append(
            f"It took {self._spent_s:.0f} s and was given {self._limits.seconds:.0f}: {self._plan.measuring_s:.0f} s "
            f"to measure what was there before, {self._learning_spent_s:.0f} s to learn, the others mostly to measure "
            "what was learnt."
        )

    def _learn(
        self,
        course: Course,
        samples: tuple[Samples, Samples],
        before: tuple[Scores, Scores],
        judged_on: tuple[Sequence[LabeledVideo], Sequence[LabeledVideo]],
    ) -> tuple[NetworkVerdict, Mapping[str, Tensor]]:
        """Return the verdict on the best candidate, and its weights."""
        spell = Spell(
            seconds=self._plan.learning_s or 0.0,
            iterations=self._limits.iterations,
            rate=course.rate,
            batch=course.batch,
            checkpoint=self._folder / f"{course.file}{CHECKPOINT}",
            key=self._plan.key,
        )
        doing = f"teaching {course.what}"
        learner = course.learnt(self._base[course.file], *samples, spell, lambda _: self._stop(doing))
        self._learning_spent_s += learner.seconds
        base = course.loaded(self._base[course.file])
        candidates = []
        for share in SHARES:
            weights = part_of_the_way(base, learner.average, share)
            after = self._measure(course, weights, _WHEN[share], *judged_on)
            scores = (before[0], after[0]), (before[1], after[1])
            short = learner.iterations < spell.iterations
            found = verdict(course.what, *scores, learner.iterations, time_was_short=short)
            candidates.append((found, weights, after[0]))
        best = max(candidates, key=lambda each: (each[0].promote, each[0].held_out.gain if each[0].held_out else 0.0))
        self._show(course, base, best[1], (before[0], best[2]), judged_on[0])
        return best[:2]

    def _show(
        self,
        course: Course,
        base: nn.Module,
        weights: Mapping[str, Tensor],
        scores: tuple[Scores, Scores],
        held_out: Sequence[LabeledVideo],
    ) -> None:
        """Draw what the network of before and the learnt one say, on held-out frames that tell the most."""
        doing = f"drawing what {course.what} learnt"

        def answers(network: nn.Module) -> Answers:
            return lambda labeled, frames: course.answer(network, labeled, frames, lambda: self._stop(doing))

        both = answers(base), answers(_with(course, weights))
        self._pictures += compared_frames(course.what, scores, held_out, both, self._notes)

    def _outcome(
        self, chosen: Split, verdicts: Mapping[str, NetworkVerdict], weights: Mapping[str, Mapping[str, Tensor]]
    ) -> AdaptationOutcome:
        paths = {file: self._write(file, weights[file]) if found.promote else None for file, found in verdicts.items()}
        return AdaptationOutcome(
            promote=any(found.promote for found in verdicts.values()),
            reason=" ".join(found.reason for found in verdicts.values()),
            segmenter=verdicts[SEGMENTER.file],
            tracker=verdicts[TRACKER.file],
            segmenter_weights=paths[SEGMENTER.file],
            tracker_weights=paths[TRACKER.file],
            learnt_from=chosen.learnt_from,
            held_out=chosen.held_out,
            notes=tuple(dict.fromkeys(self._notes)),
            seconds=self._spent_s,
            peak_memory_bytes=_peak_memory_bytes(),
            pictures=tuple(self._pictures),
        )

    def _write(self, file: str, weights: Mapping[str, Tensor]) -> Path:
        path = self._folder / file
        write_whole(path, save(dict(weights)))
        with writing(path):
            record_fingerprint(path, fingerprint(path))
        return path

    @property
    def _spent_s(self) -> float:
        return time.monotonic() - self._started + self._plan.spent_before_s

    def _stop(self, doing: str) -> None:
        """Tell how far it is; raise if it was cancelled."""
        if self._cancelled():
            self._plan.keep_spent(self._spent_s)
            raise CancelledError("The adaptation was cancelled.", "Start it again, and it goes on from here.")
        self._share = max(self._share, min(0.99, self._spent_s / self._expected_s))
        self._progress(Progress(self._share, doing))

    @property
    def _expected_s(self) -> float:
        """How long all of it takes; a guess until it is known how long measuring takes, of which more is to come."""
        if self._plan.learning_s is None:
            return max(self._limits.seconds, (1 + _MEASURED_AGAIN) * self._spent_s)
        return max(self._limits.seconds, (1 + _MEASURED_AGAIN) * self._plan.measuring_s + 2 * self._plan.learning_s)


class _Plan:
    """What a later call needs to go on, in a small file: shares of time, and the base's scores."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.key = ""
        self.learning_s: float | None = None
        self.measuring_s = self.spent_before_s = 0.0
        self._scores: dict[str, tuple[Scores, Scores]] = {}

    def begin(self, key: str) -> None:
        """Go on with what is kept, if it is of the same `key`."""
        self.key = key
        try:
            kept = json.loads(self._path.read_text(encoding="utf-8"))
            if kept["key"] == key:
                self._take(kept)
        except (OSError, ValueError, KeyError, TypeError):
            return  # not there, or damaged: it is made anew

    def scores(self, file: str) -> tuple[Scores, Scores] | None:
        """Return the base's scores on the held-out and the general videos, if they were measured."""
        return self._scores.get(file)

    def keep_scores(self, file: str, scores: tuple[Scores, Scores], seconds: float) -> None:
        self._scores[file] = scores
        self.measuring_s += seconds
        self._save()

    def keep_learning(self, seconds: float) -> None:
        self.learning_s = seconds
        self._save()

    def keep_spent(self, seconds: float) -> None:
        self.spent_before_s = seconds
        self._save()

    def _take(self, kept: Mapping[str, Any]) -> None:
        self._scores = {file: (_scores(here), _scores(general)) for file, (here, general) in kept["scores"].items()}
        self.learning_s, self.measuring_s = kept["learning_s"], kept["measuring_s"]
        self.spent_before_s = kept["spent_s"]

    def _save(self) -> None:
        state = {
            "key": self.key,
            "scores": self._scores,
            "learning_s": self.learning_s,
            "measuring_s": self.measuring_s,
            "spent_s": self.spent_before_s,
        }
        write_whole(self._path, json.dumps(state).encode())


def _with(course: Course, weights: Mapping[str, Tensor]) -> nn.Module:
    """Return a course's network with these weights, ready to answer."""
    network = course.network()
    network.load_state_dict(dict(weights))
    return network.to(memory_format=torch.channels_last).eval()


def _scores(kept: Mapping[str, Mapping[str, float]]) -> Scores:
    """Return scores whose frames became words in JSON."""
    return {name: {int(at): value for at, value in frames.items()} for name, frames in kept.items()}


def _key(kept: Sequence[KeptVideo], base: Iterable[Path]) -> str:
    """Return what tells these videos, labels and weights from others."""
    parts = [*(video.digest() for video in kept), *(fingerprint(path) for path in base)]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def _peak_memory_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
