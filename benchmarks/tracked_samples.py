"""Tracks with known errors: real clips tracked as they are and corrupted, what each frame shows and its true IoU."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.clips import AnnotatedClip
from benchmarks.scores import BoolMask, region_similarity
from tam_backend.models.protocols import Models
from tam_backend.pipeline.evidence import AbsenceEvidence, Evidence, FrameEvidence, Trace
from tam_backend.pipeline.scaling import Scaling
from tam_backend.types import RgbFrame

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
        disturbance: of the frames of the middle third: "cut" to another clip, "patch" over the object, "blur".
    """

    name: str
    side: int
    stride: int = 1
    first: str = ""
    midway: str = ""
    disturbance: str = ""


VARIANTS = (
    Variant("clean", 480),
    Variant("low 240", 240),
    Variant("low 160, every 3rd", 160, stride=3),
    Variant("every 6th", 320, stride=6),
    Variant("first eroded", 240, stride=2, first="erode"),
    Variant("first dilated", 240, stride=2, first="dilate"),
    Variant("first shifted", 240, stride=2, first="shift"),
    Variant("first halved", 240, stride=2, first="half"),
    Variant("shifted midway", 240, stride=2, midway="shift"),
    Variant("halved midway", 320, stride=3, midway="half"),
    Variant("elsewhere midway", 240, stride=2, midway="elsewhere"),
    Variant("blur", 240, stride=2, disturbance="blur"),
    Variant("patch", 320, stride=2, disturbance="patch"),
    Variant("cut", 240, stride=2, disturbance="cut"),
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


def collect(models: Models, clips: Sequence[AnnotatedClip], cache: Path, variants: Sequence[Variant]) -> Samples:
    """Track every clip forth and back in every variant; what is found in the cache is not tracked again."""
    cache.mkdir(parents=True, exist_ok=True)
    parts = []
    for variant in variants:
        for clip in (way for each in clips for way in (each, _reversed(each))):
            file = cache / f"{clip.name}-{variant.name}-{models.version}.npz".replace(" ", "_").replace("/", "_")
            if not file.exists():
                foreign = clips[([each.name for each in clips].index(_name(clip)) + 1) % len(clips)]
                part = _tracked(models, clip, variant, foreign)
                with file.with_suffix(".part").open("wb") as out:
                    np.savez(out, **vars(part))
                file.with_suffix(".part").rename(file)
                print(f"{variant.name}: {clip.name}, {len(part)} masks", flush=True)
            with np.load(file) as stored:
                parts.append(Samples(**dict(stored)))
    parts = [part for part in parts if len(part)]
    return Samples(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])})


def _reversed(clip: AnnotatedClip) -> AnnotatedClip:
    last = len(clip) - 1
    masks = {last - at: clip.masks[at] for at in sorted(clip.masks, reverse=True)}
    return AnnotatedClip(clip.name + _BACKWARD, clip.frames[::-1], masks)


def _name(clip: AnnotatedClip) -> str:
    return clip.name.removesuffix(_BACKWARD)


@dataclass
class _Columns:
    rows: list[tuple[float, bool, bool, float, tuple[float, ...], tuple[float, ...]]]

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


def _tracked(models: Models, clip: AnnotatedClip, variant: Variant, foreign: AnnotatedClip) -> Samples:
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
    disturb = _Disturbance(clip, variant, foreign, frames, rng)
    columns = _Columns([])
    traces: dict[int, Trace] = {}
    for number, at in enumerate(frames):
        pixels, hidden, away = disturb(at)
        truth = {each: (clip.ids(at) == each) & ~hidden for each in starts} if at in clip.masks else {}
        joining = {each: _spoil(truth[each], variant.first, rng) for each, start in starts.items() if start == at}
        image = scaling.image(pixels)
        if joining:
            step = tracker.track(image, scaling.index_mask(joining), sorted(joining))
        elif variant.midway and number == len(frames) // 2 and tracker.object_ids:
            masks = dict(zip(step.object_ids, scaling.masks(step.probabilities), strict=True))
            spoiled = {each: _spoil(mask, variant.midway, rng) for each, mask in masks.items()}
            step = tracker.track(image, scaling.index_mask(spoiled), sorted(spoiled), permanent=False)
            joining = spoiled
        else:
            step = tracker.track(image)
        look = FrameEvidence(step)
        winners = step.probabilities.argmax(0)
        small_truth: dict[int, BoolMask] = {}
        for channel, object_id in enumerate(step.object_ids, start=1):
            seen = look.observe(channel, traces.pop(object_id, None))
            if seen.trace is not None:
                traces[object_id] = seen.trace
            if object_id in joining or not (away or at in judged[object_id]):
                continue
            small_truth = small_truth or _at_working_size(scaling, {} if away else truth)
            true = small_truth.get(object_id, np.zeros(scaling.working_hw, bool))
            mask = (winners == channel).cpu().numpy()
            probability = step.probabilities[channel].cpu().numpy()
            present = isinstance(seen.evidence, Evidence)
            columns.rows.append(
                (
                    region_similarity(mask, true),
                    not true.any(),
                    present,
                    float(probability[mask].mean()) if mask.any() else 1 - float(probability.max()),
                    astuple(seen.evidence) if present else (),
                    () if present else astuple(seen.evidence),
                )
            )
    return columns.samples(_name(clip), variant.name)


def _at_working_size(scaling: Scaling, truth: dict[int, BoolMask]) -> dict[int, BoolMask]:
    index = scaling.index_mask(truth).cpu().numpy()
    return {object_id: index == object_id for object_id in truth}


class _Disturbance:
    """Changes the frames of the middle third."""

    def __init__(
        self,
        clip: AnnotatedClip,
        variant: Variant,
        foreign: AnnotatedClip,
        frames: Sequence[int],
        rng: np.random.Generator,
    ) -> None:
        self._clip, self._kind, self._foreign = clip, variant.disturbance, foreign
        self._disturbed = set(frames[len(frames) // 3 : 2 * len(frames) // 3]) if self._kind else set()
        height, width = clip.size_hw
        noise = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        self._texture = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)

    def __call__(self, at: int) -> tuple[RgbFrame, BoolMask, bool]:
        """Return the frame, what is hidden in it, and whether it shows another scene."""
        pixels = self._clip.frame(at)
        hidden = np.zeros(self._clip.size_hw, bool)
        if at not in self._disturbed:
            return pixels, hidden, False
        if self._kind == "cut":
            height, width = self._clip.size_hw
            other = self._foreign.frame(at % len(self._foreign))
            return np.asarray(cv2.resize(other, (width, height)), np.uint8), hidden, True
        if self._kind == "blur":
            reach = min(self._clip.size_hw) / 60
            return np.asarray(cv2.GaussianBlur(pixels, (0, 0), reach), np.uint8), hidden, False
        nearest = min((each for each, ids in self._clip.ids_at.items() if ids), key=lambda each: abs(each - at))
        x, y, width, height = cv2.boundingRect((self._clip.ids(nearest) > 0).astype(np.uint8))
        # Before every third frame the patch hides a half, else all.
        hidden[y : y + height, x : x + (width // 2 if at % 3 == 0 else width)] = True
        return np.where(hidden[..., None], self._texture, pixels), hidden, False


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
