"""Tracks with known errors: real clips tracked as they are and corrupted, what each frame shows and its true IoU."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.clips import AnnotatedClip
from benchmarks.footage import Disturbance, Shelf
from benchmarks.scores import BoolMask, region_similarity
from tam_backend import TrackAnything
from tam_backend.models import zoo
from tam_backend.models.protocols import Models, TrackingStep
from tam_backend.quality.evidence import AbsenceEvidence, Evidence, FrameEvidence, Trace, signs
from tam_backend.tracking.scaling import Scaling

Floats = NDArray[np.float64]

_BACKWARD = " backward"


@dataclass(frozen=True)
class Variant:
    """How a clip is tracked.

    Args:
        name: for tables and cache files.
        side: the tracker's shorter side.
        stride: frames between are left out, unless they have masks.
        first: what is done to the first masks.
        midway: what is done to the tracker's own masks halfway, which it then remembers.
        backward: the last frame comes first. Both ways cost twice, for samples much alike.
        disturbance: of the frames of the middle third, see `benchmarks.footage.Disturbance`.
    """

    name: str
    side: int
    stride: int = 1
    first: str = ""
    midway: str = ""
    disturbance: str = ""
    backward: bool = False


VARIANTS = (
    Variant("clean", 480),
    Variant("low 240", 240, backward=True),
    Variant("low 160, every 3rd", 160, stride=3),
    Variant("every 6th", 320, stride=6, backward=True),
    Variant("first eroded", 240, stride=2, first="erode"),
    Variant("first dilated", 240, stride=2, first="dilate", backward=True),
    Variant("first shifted", 240, stride=2, first="shift"),
    Variant("first halved", 240, stride=2, first="half", backward=True),
    Variant("shifted midway", 240, stride=2, midway="shift"),
    Variant("halved midway", 320, stride=3, midway="half", backward=True),
    Variant("elsewhere midway", 240, stride=2, midway="elsewhere"),
    Variant("blur", 240, stride=2, disturbance="blur", backward=True),
    Variant("patch", 320, stride=2, disturbance="patch"),
    Variant("cut", 240, stride=2, disturbance="cut", backward=True),
    Variant("pan", 240, stride=2, disturbance="pan"),
    # Small pictures cost little, and objects are lost in them: most of these are for empty masks.
    Variant("low 120", 120, stride=2),
    Variant("low 160, every 6th", 160, stride=6),
    Variant("low 120, every 4th", 120, stride=4, backward=True),
    Variant("low 160, blur", 160, disturbance="blur"),
    Variant("low 160, patch", 160, disturbance="patch", backward=True),
    Variant("low 160, pan", 160, disturbance="pan", backward=True),
)


@dataclass(frozen=True, eq=False)
class Samples:
    """Judged masks; N of them.

    Args:
        clip: (N,) names.
        variant: (N,) names.
        iou: (N,) with the truth.
        absent: (N,) bool; the truth is empty.
        found: (N,) bool; the mask is not empty.
        mean_probability: (N,) over the mask; 1 - the largest probability where it is empty.
        evidence: (N, fields) of `Evidence`; NaN where the mask is empty.
        absence: (N, fields) of `AbsenceEvidence`; NaN where it is not.
    """

    clip: NDArray[np.str_]
    variant: NDArray[np.str_]
    iou: Floats
    absent: BoolMask
    found: BoolMask
    mean_probability: Floats
    evidence: Floats
    absence: Floats

    def __len__(self) -> int:
        return len(self.iou)


def collect(
    profile: str,
    clips: Sequence[AnnotatedClip],
    cache: Path,
    variants: Sequence[Variant],
    processes: int = 1,
    both_ways: bool = False,
) -> Samples:
    """Track every clip in every variant; what is found in the cache is not tracked again.

    Args:
        profile: of the tracker.
        clips: with masks.
        cache: a folder, made if needed.
        variants: some of `VARIANTS`.
        processes: how many work at once, each on a clip of its own with one thread.
        both_ways: forth and back in every variant.
    """
    cache.mkdir(parents=True, exist_ok=True)
    # The longest first, so that none is left alone at the end.
    tasks = [(profile, clips, each, cache, variants, both_ways) for each in sorted(clips, key=len, reverse=True)]
    if processes == 1:
        for task in tasks:
            _track_clip(*task)
    else:
        with ProcessPoolExecutor(processes, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
            for done in [pool.submit(_track_clip, *task) for task in tasks]:
                done.result()
    parts = []
    version = zoo.profile(profile).version
    for clip in clips:
        for variant in variants:
            for backward in _ways(variant, both_ways):
                name = clip.name + _BACKWARD if backward else clip.name
                with np.load(_file(cache, name, variant, version)) as stored:
                    parts.append(Samples(**dict(stored)))
    parts = [part for part in parts if len(part)]
    return Samples(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])})


def _ways(variant: Variant, both: bool) -> tuple[bool, ...]:
    """Return whether the clip is to be shown backward, for each time that it is to be tracked."""
    return (False, True) if both else (variant.backward,)


def _track_clip(
    profile: str,
    clips: Sequence[AnnotatedClip],
    clip: AnnotatedClip,
    cache: Path,
    variants: Sequence[Variant],
    both_ways: bool,
) -> None:
    models = TrackAnything.load(profile, device="cpu").models
    foreign = clips[([each.name for each in clips].index(clip.name) + 1) % len(clips)]
    reverse, shelf = _reversed(clip), Shelf()
    for variant in variants:
        for backward in _ways(variant, both_ways):
            way = reverse if backward else clip
            file = _file(cache, way.name, variant, models.version)
            if not file.exists():
                part = _tracked(models, way, variant, foreign, shelf)
                with file.with_suffix(".part").open("wb") as out:
                    np.savez(out, **vars(part))
                file.with_suffix(".part").rename(file)
                print(f"{variant.name}: {way.name}, {len(part)} masks", flush=True)


def _file(cache: Path, name: str, variant: Variant, version: str) -> Path:
    # What was measured of other evidence is no use to this one.
    measured = zlib.crc32(" ".join([*signs(Evidence), *signs(AbsenceEvidence)]).encode())
    return cache / f"{name}-{variant.name}-{version}-{measured:08x}.npz".replace(" ", "_").replace("/", "_")


def _reversed(clip: AnnotatedClip) -> AnnotatedClip:
    last = len(clip) - 1
    masks = {last - at: clip.masks[at] for at in sorted(clip.masks, reverse=True)}
    return AnnotatedClip(clip.name + _BACKWARD, clip.frames[::-1], masks)


def _name(clip: AnnotatedClip) -> str:
    return clip.name.removesuffix(_BACKWARD)


@dataclass
class _Columns:
    rows: list[tuple[float, bool, bool, float, tuple[float, ...], tuple[float, ...]]]

    def add(self, evidence: Evidence | AbsenceEvidence, mask: BoolMask, true: BoolMask, probability: Floats) -> None:
        present = isinstance(evidence, Evidence)
        self.rows.append(
            (
                region_similarity(mask, true),
                not true.any(),
                present,
                float(probability[mask].mean()) if mask.any() else 1 - float(probability.max()),
                astuple(evidence) if present else (),
                () if present else astuple(evidence),
            )
        )

    def samples(self, clip: str, variant: str) -> Samples:
        none = (np.nan,)
        blank_evidence, blank_absence = (
            none * len(Evidence.__annotations__),
            none * len(AbsenceEvidence.__annotations__),
        )
        count = len(self.rows)
        return Samples(
            clip=np.array([clip] * count, dtype=np.str_),
            variant=np.array([variant] * count, dtype=np.str_),
            iou=np.array([row[0] for row in self.rows]),
            absent=np.array([row[1] for row in self.rows], dtype=bool),
            found=np.array([row[2] for row in self.rows], dtype=bool),
            mean_probability=np.array([row[3] for row in self.rows]),
            evidence=np.array([row[4] or blank_evidence for row in self.rows]).reshape(count, len(blank_evidence)),
            absence=np.array([row[5] or blank_absence for row in self.rows]).reshape(count, len(blank_absence)),
        )


def _tracked(models: Models, clip: AnnotatedClip, variant: Variant, foreign: AnnotatedClip, shelf: Shelf) -> Samples:
    rng = np.random.default_rng(zlib.crc32(f"{clip.name} {variant.name}".encode()))
    scaling = Scaling(clip.size_hw, variant.side, models.device)
    tracker = models.new_tracker()
    starts = clip.starts
    judged = {object_id: set(clip.judged(object_id)) for object_id in starts}
    last = max((max(frames) for frames in judged.values() if frames), default=0)
    few = len(clip.masks) < len(clip) / 2
    frames = [
        at
        for at in range(min(starts.values()), last + 1)
        if at % variant.stride == 0 or at in starts.values() or (few and at in clip.masks)
    ]
    show = Disturbance(shelf, clip, scaling, variant.disturbance, foreign, frames, rng)
    columns = _Columns([])
    traces: dict[int, Trace] = {}
    for number, at in enumerate(frames):
        shown = show(at)
        image = scaling.image(shown.pixels)
        joining = [each for each, start in starts.items() if start == at]
        midway = bool(variant.midway) and number == len(frames) // 2 and not joining and bool(tracker.object_ids)
        if joining:
            assert shown.ids is not None, "objects start on annotated frames"
            first = {each: _spoil(shown.ids == each, variant.first, rng) for each in joining}
            step = tracker.track(image, _index(first, scaling), sorted(first))
        elif midway:
            spoiled = {each: _spoil(mask, variant.midway, rng) for each, mask in _masks(step).items()}
            joining = list(spoiled)
            step = tracker.track(image, _index(spoiled, scaling), sorted(spoiled), permanent=False)
        else:
            step = tracker.track(image)
        look, masks = FrameEvidence(step), _masks(step)
        for channel, object_id in enumerate(step.object_ids, start=1):
            seen = look.observe(channel, traces.get(object_id))
            if seen.trace is not None:
                traces[object_id] = seen.trace
            if object_id not in joining and shown.ids is not None and (shown.away or at in judged[object_id]):
                true = shown.ids == object_id
                columns.add(seen.evidence, masks[object_id], true, step.probabilities[channel].cpu().numpy())
    return columns.samples(_name(clip), variant.name)


def _masks(step: TrackingStep) -> dict[int, BoolMask]:
    winners = step.probabilities.cpu().numpy().argmax(0)
    return {each: winners == channel for channel, each in enumerate(step.object_ids, start=1)}


def _index(masks: Mapping[int, BoolMask], scaling: Scaling) -> Tensor:
    index = np.zeros(scaling.working_hw, np.int64)
    for object_id, mask in masks.items():
        index[mask] = object_id
    return torch.from_numpy(index)


def _spoil(mask: BoolMask, how: str, rng: np.random.Generator) -> BoolMask:
    """Return a wrong version of a mask; an empty one stays."""
    if not how or not mask.any():
        return mask
    reach = max(1, round(0.08 * float(np.count_nonzero(mask)) ** 0.5))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    spoils: dict[str, Callable[[], BoolMask]] = {
        "erode": lambda: cv2.erode(mask.astype(np.uint8), disc) > 0,
        "dilate": lambda: cv2.dilate(mask.astype(np.uint8), disc) > 0,
        "shift": lambda: _moved(mask, 4 * reach, -2 * reach),
        "half": lambda: mask & (np.arange(mask.shape[1]) < np.median(np.nonzero(mask)[1])),
        "elsewhere": lambda: np.roll(mask, [side // int(rng.integers(2, 4)) for side in mask.shape], (0, 1)),
    }
    spoiled = spoils[how]()
    return spoiled if spoiled.any() else mask


def _moved(mask: BoolMask, x: int, y: int) -> BoolMask:
    matrix = np.array([[1, 0, x], [0, 1, y]], np.float32)
    return cv2.warpAffine(mask.astype(np.uint8), matrix, mask.shape[::-1]) > 0
