"""How good networks are on labeled videos, through the package's own inference: a score for every judged frame."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import numpy as np
import torch

from tam_backend.adaptation.kept_video import evenly
from tam_backend.adaptation.labeled import IdMask, LabeledVideo
from tam_backend.adaptation.simulated_clicks import next_click
from tam_backend.errors import MediaError
from tam_backend.models.compact_tracker.compact_network import CompactNetwork
from tam_backend.models.compact_tracker.compact_tracker import CompactTracker
from tam_backend.models.protocols import FrameEmbedding, SegmenterPrompts
from tam_backend.models.segmenters.click_network import ClickNetwork
from tam_backend.models.segmenters.compact_segmenter import CompactSegmenter
from tam_backend.tracking.scaling import Scaling
from tam_backend.types import BoolMask, Point

FrameScores = Mapping[int, float]
"""Frame index, ascending -> 0..1, the mean over its objects."""
Scores = Mapping[str, FrameScores]
"""Video -> its frames' scores."""
Stop = Callable[[], None]
"""Called now and then; raises to stop."""

_CPU = torch.device("cpu")
# As the profile does, unless the video is smaller: what was enlarged shows nothing more.
_TRACKER_SIDE = 480
_MOST_TRACKED, _MOST_JUDGED, _MOST_STRIDE = 36, 12, 4
_MOST_CLICKED_FRAMES, _MOST_CLICKED_OBJECTS = 6, 3
_CLICKS, _JUDGED_CLICKS = 3, (1, 3)


def tracked(network: CompactNetwork, labeled: LabeledVideo, stop: Stop) -> dict[int, float]:
    """Give every object's first mask, track, and compare with the masks that follow; frame -> mean IoU.

    At most some dozens of frames are tracked, from the first mask on; nothing is judged before the second one.

    Raises:
        MediaError: a frame cannot be read.
    """
    scores: dict[int, float] = {}
    for at, found in _tracking(network, labeled, stop):
        truth = labeled.masks[at]
        scores[at] = float(np.mean([iou(mask, truth == each) for each, mask in sorted(found.items())]))
    return scores


def tracked_on(
    network: CompactNetwork, labeled: LabeledVideo, frames: Collection[int], stop: Stop
) -> dict[int, dict[int, BoolMask]]:
    """Return the masks that `tracked` judges on some of its frames; frame -> object -> (H, W).

    Raises:
        MediaError: a frame cannot be read.
    """
    wanted: dict[int, dict[int, BoolMask]] = {}
    for at, found in _tracking(network, labeled, stop):
        if at in frames:
            wanted[at] = found
        if len(wanted) == len(frames):
            break
    return wanted


def _tracking(network: CompactNetwork, labeled: LabeledVideo, stop: Stop) -> Iterator[tuple[int, dict[int, BoolMask]]]:
    """Track, and yield every judged frame with the mask of each object that was given before it."""
    moments, judged = _plan(labeled)
    if not judged:
        return
    height, width = labeled.video.size_hw
    scaling = Scaling((height, width), min(_TRACKER_SIDE, height, width), _CPU)
    tracker = CompactTracker(network, _CPU)
    for at in moments:
        stop()
        truth = labeled.masks[at] if at in judged or at == moments[0] else None
        known = set(tracker.object_ids)
        joining = [] if truth is None else [each for each in _objects(truth) if each not in known]
        mask = None if truth is None or not joining else scaling.index_mask(_by_id(truth, joining))
        step = tracker.track(scaling.image(labeled.video[at]), mask, joining or None)
        if truth is not None and known:
            labels = scaling.labels(step.probabilities).numpy()
            yield at, {each: labels == step.object_ids.index(each) + 1 for each in known}


def clicked(network: ClickNetwork, labeled: LabeledVideo, stop: Stop) -> dict[int, float]:
    """Click into objects on some labeled frames; frame -> mean IoU after one and after three clicks.

    Raises:
        MediaError: a frame cannot be read.
    """
    shown = [at for at in sorted(labeled.masks) if labeled.masks[at].any()]
    scores: dict[int, float] = {}
    for at, found in _clicking(network, labeled, evenly(shown, _MOST_CLICKED_FRAMES), _CLICKS, stop):
        truth = labeled.masks[at]
        scores[at] = float(np.mean([_after_clicks(answers, truth == each) for each, answers in found.items()]))
    return scores


def clicked_on(
    network: ClickNetwork, labeled: LabeledVideo, frames: Collection[int], stop: Stop
) -> dict[int, dict[int, BoolMask]]:
    """Return the masks after the first click of those that `clicked` judges; frame -> object -> (H, W).

    Raises:
        MediaError: a frame cannot be read.
    """
    return {
        at: {each: answers[0] for each, answers in found.items()}
        for at, found in _clicking(network, labeled, frames, 1, stop)
    }


def _clicking(
    network: ClickNetwork, labeled: LabeledVideo, frames: Collection[int], clicks: int, stop: Stop
) -> Iterator[tuple[int, dict[int, list[BoolMask]]]]:
    """Click into objects, and yield every frame with each object's mask after each click."""
    segmenter = CompactSegmenter(network, "judged", _CPU)
    for at in frames:
        stop()
        truth, embedding = labeled.masks[at], segmenter.encode(labeled.video[at])
        objects = _objects(truth)[:_MOST_CLICKED_OBJECTS]
        yield at, {each: _answers(segmenter, embedding, truth == each, clicks) for each in objects}


def iou(mask: BoolMask, truth: BoolMask) -> float:
    """Return the intersection over union; 1 if both are empty."""
    union = np.count_nonzero(mask | truth)
    return np.count_nonzero(mask & truth) / union if union else 1.0


def score_all(
    videos: Sequence[LabeledVideo], score: Callable[[LabeledVideo], FrameScores], notes: list[str]
) -> dict[str, FrameScores]:
    """Score every video that can be read; of the others `notes` gets a sentence."""
    scores: dict[str, FrameScores] = {}
    for labeled in videos:
        try:
            scores[labeled.name] = score(labeled)
        except MediaError as error:  # noqa: PERF203 - a video takes seconds
            notes.append(f"{labeled.name} could not be measured: {error.message}")
    return scores


def _plan(labeled: LabeledVideo) -> tuple[list[int], set[int]]:
    """Return the frames to track, from the first one with an object on, and those to judge."""
    drawn = sorted(labeled.masks)
    start = next((at for at in drawn if labeled.masks[at].any()), None)
    if start is None:
        return [], set()
    later = [at for at in drawn if at > start]
    near = [at for at in later if at - start <= _MOST_TRACKED * _MOST_STRIDE]
    judged = evenly(near or later[:1], _MOST_JUDGED)
    if not judged:
        return [], set()
    steps = max(len(judged), min(_MOST_TRACKED, judged[-1] - start))
    passed = {start + round(each) for each in np.linspace(0, judged[-1] - start, steps + 1)}
    return sorted(passed | set(judged)), set(judged)


def _after_clicks(answers: Sequence[BoolMask], truth: BoolMask) -> float:
    return float(np.mean([iou(answers[count - 1], truth) for count in _JUDGED_CLICKS]))


def _answers(segmenter: CompactSegmenter, embedding: FrameEmbedding, truth: BoolMask, clicks: int) -> list[BoolMask]:
    """Return the mask after each click."""
    answer: BoolMask = np.zeros_like(truth)
    points: list[Point] = []
    answers: list[BoolMask] = []
    for _ in range(clicks):
        click = next_click(truth, answer)
        if click is not None:
            points.append(Point(click.x + 0.5, click.y + 0.5, click.positive))
            answer = segmenter.segment(embedding, SegmenterPrompts(points=tuple(points))).mask
        answers.append(answer)
    return answers


def _objects(mask: IdMask) -> list[int]:
    return [int(each) for each in np.unique(mask) if each]


def _by_id(mask: IdMask, ids: Sequence[int]) -> dict[int, BoolMask]:
    return {each: np.asarray(mask == each) for each in ids}
