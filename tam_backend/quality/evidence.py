"""What one frame of tracking shows of an object's mask: the numbers that its quality is predicted from."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tam_backend.models.protocols import MemoryReading, TrackingStep

Floats = NDArray[np.float32]

NEGLIGIBLE = 0.02
"""Pixels where the object is less probable than this say nothing; they are cropped away."""
BAND_SHARE = 0.03
"""The boundary band reaches this share of the square root of the mask's area to both sides, 1 pixel at least."""
WIDEST_BAND = 5
"""How far it reaches at most, in pixels."""
_LARGEST_JUMP = 3.0
_THINNEST_HAZE = float(np.exp(-8))


@dataclass(frozen=True)
class Trace:
    """What is kept of an object's mask for the frames after: of the last one that was not empty.

    Args:
        area: in pixels of the working size.
        centre: (x, y) of the centroid in pixels of the working size.
        missing: for how many frames the mask has been empty since.
    """

    area: float
    centre: tuple[float, float]
    missing: int = 0


@dataclass(frozen=True)
class Evidence:
    """Cheap measurements of one mask on one frame. NaN where the frame did not tell (nothing read, nothing before).

    `sign` in a field's metadata says whether more of it speaks for (+1) or against (-1) the mask, or may do either (0);
    `share` that it lies in 0..1. Quality uses those that `benchmarks.calibration` names; the others are measured for
    trackers whose coefficients are yet to be fitted.

    Args:
        expected_iou: sum(min(p, m)) / sum(max(p, m)), the IoU to expect if the probabilities p are right.
        margin: mean of p minus the strongest rival's over the mask; 0..1.
        band_entropy: mean binary entropy of p in the boundary band, in bits.
        core_entropy: mean binary entropy of p in the mask without the band, in bits.
        agreement: soft IoU of p and the affinity read-out on the memory's grid; 0..1.
        mass_on_object: mean affinity mass on memory of the object over the mask's cells; 0..1.
        mass_outside: share of that mass that falls outside the mask; 0..1.
        similarity: mean over the mask's cells of the largest similarity to a memory element (unit of the network).
        similarity_lead: `similarity` minus the same mean over the cells around it (unit of the network).
        area_jump: |log(area / area before)|, at most 3.
        centroid_jump: the centroid's way since the frame before over the square root of the area, at most 3.
        stray_share: share of the mask outside its largest connected component; 0..1.
        competition: mean probability of the strongest other object over the mask; 0..1.
        log_area: log of the mask's share of the frame.
        raggedness: log of perimeter / (2 sqrt(pi area)); 0 for a disc.
    """

    expected_iou: float = field(metadata={"sign": 1, "share": True})
    margin: float = field(metadata={"sign": 1, "share": True})
    band_entropy: float = field(metadata={"sign": -1, "share": True})
    core_entropy: float = field(metadata={"sign": -1, "share": True})
    agreement: float = field(metadata={"sign": 1, "share": True})
    mass_on_object: float = field(metadata={"sign": 1, "share": True})
    mass_outside: float = field(metadata={"sign": -1, "share": True})
    similarity: float = field(metadata={"sign": 1})
    similarity_lead: float = field(metadata={"sign": 0})
    area_jump: float = field(metadata={"sign": -1})
    centroid_jump: float = field(metadata={"sign": -1})
    stray_share: float = field(metadata={"sign": -1, "share": True})
    competition: float = field(metadata={"sign": -1, "share": True})
    log_area: float = field(metadata={"sign": 0})
    raggedness: float = field(metadata={"sign": -1})


@dataclass(frozen=True)
class AbsenceEvidence:
    """What speaks against (-1) an object with an empty mask being really gone, or may do either (0). NaN if unknown.

    Tried too, on the clips of `benchmarks.calibration`, and of no use to clips not fitted on: what memory read of the
    object, how near the last mask was to the border, whether it had shrunk, and how sure it was.

    Args:
        peak: the object's largest probability anywhere; 0..1.
        haze: log of the sum of its probabilities over the area of its last mask; at least -8.
        missing: log(1 + frames since its last mask).
    """

    peak: float = field(metadata={"sign": -1, "share": True})
    haze: float = field(metadata={"sign": -1})
    missing: float = field(metadata={"sign": 0})


def signs(kind: type[Evidence] | type[AbsenceEvidence] = Evidence) -> dict[str, int]:
    """Return the sign of every measurement by its name, in the order of the fields."""
    return {each.name: int(each.metadata["sign"]) for each in fields(kind)}


def shares(kind: type[Evidence] | type[AbsenceEvidence] = Evidence) -> frozenset[str]:
    """Return the measurements that are shares of something, 0..1."""
    return frozenset(each.name for each in fields(kind) if each.metadata.get("share", False))


@dataclass(frozen=True, eq=False)
class Observation:
    """One object on one frame: the evidence of its kind, and what the next frame wants to know of this one.

    Args:
        evidence: `AbsenceEvidence` where the mask is empty.
        trace: where the mask is empty, that of the last one that was not, a frame older; None if there was none.
    """

    evidence: Evidence | AbsenceEvidence
    trace: Trace | None


class Look(Protocol):
    """A look at a tracker's answer for one frame."""

    def observe(self, channel: int, before: Trace | None) -> Observation:
        """Measure one object; see `FrameEvidence.observe`."""


class FrameEvidence:
    """Measures everything, on the host; objects are asked for one by one. Implements `Look`.

    Args:
        step: of any device; its tensors are brought to the CPU once.
    """

    def __init__(self, step: TrackingStep) -> None:
        self._probabilities = _array(step.probabilities)
        self._reading = None if step.reading is None else _Read(step.reading)

    def observe(self, channel: int, before: Trace | None) -> Observation:
        """Measure one object.

        Args:
            channel: 1 and above, of `TrackingStep.probabilities`.
            before: its trace on the frame before; None where it was unknown.
        """
        whole = self._probabilities[channel]
        left, top, width, height = cv2.boundingRect((whole > NEGLIGIBLE).view(np.uint8))
        crop = (slice(top, top + height), slice(left, left + width))
        probability = np.nan_to_num(whole[crop])
        objects = [i for i in range(1, len(self._probabilities)) if i != channel]
        others = _largest([self._probabilities[i][crop] for i in objects], probability)
        rival = np.maximum(others, self._probabilities[0][crop])
        mask = probability > rival
        area = float(np.count_nonzero(mask))
        if not area:
            everywhere = np.nan_to_num(whole)
            return absence(float(everywhere.max()), float(everywhere.sum()), before)

        binary = mask.view(np.uint8)
        _, _labels, stats, centroids = cv2.connectedComponentsWithStats(binary, connectivity=8)
        sizes = stats[1:, cv2.CC_STAT_AREA].astype(np.float64)
        centre = (sizes[:, None] * centroids[1:]).sum(0) / area

        reach = min(WIDEST_BAND, max(1, round(BAND_SHARE * area**0.5)))
        disc = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
        padded = cv2.copyMakeBorder(binary, reach, reach, reach, reach, cv2.BORDER_REPLICATE)
        inner = slice(reach, -reach), slice(reach, -reach)
        core = cv2.erode(padded, disc)[inner] > 0
        band = (cv2.dilate(padded, disc)[inner] > 0) & ~core
        entropy = _binary_entropy(probability)
        inside = probability[mask]
        intersection = float(inside.sum())
        contours, _ = cv2.findContours(binary, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        perimeter = sum(cv2.arcLength(contour, True) for contour in contours)
        read = _Seen() if self._reading is None else self._reading.over(channel - 1, whole)
        position = (left + float(centre[0]), top + float(centre[1]))
        jump_area, jump_centre = jumps(area, position, before)
        evidence = Evidence(
            expected_iou=intersection / (area + float(probability.sum()) - intersection),
            margin=float((inside - rival[mask]).mean()),
            band_entropy=float(entropy[band].mean()) if band.any() else float("nan"),
            core_entropy=float(entropy[core].mean()) if core.any() else float("nan"),
            agreement=read.agreement,
            mass_on_object=read.mass_on_object,
            mass_outside=read.mass_outside,
            similarity=read.similarity,
            similarity_lead=read.similarity_lead,
            area_jump=jump_area,
            centroid_jump=jump_centre,
            stray_share=1 - float(sizes.max()) / area,
            competition=float(others[mask].mean()),
            log_area=float(np.log(area / whole.size)),
            raggedness=float(np.log(max(perimeter, 1.0) / (2 * (np.pi * area) ** 0.5))),
        )
        return Observation(evidence, Trace(area, position))


def absence(peak: float, total: float, last: Trace | None) -> Observation:
    """Observe an empty mask.

    Args:
        peak: the object's largest probability on the frame.
        total: the sum of its probabilities over the frame.
        last: its trace on the frame before; None where it was never seen.
    """
    if last is None:
        return Observation(AbsenceEvidence(peak, haze=float("nan"), missing=float("nan")), None)
    trace = replace(last, missing=last.missing + 1)
    haze = float(np.log(max(total / last.area, _THINNEST_HAZE)))
    return Observation(AbsenceEvidence(peak, haze, missing=float(np.log(1 + trace.missing))), trace)


@dataclass(frozen=True)
class _Seen:
    """The part of `Evidence` that the memory's reading gives."""

    agreement: float = float("nan")
    mass_on_object: float = float("nan")
    mass_outside: float = float("nan")
    similarity: float = float("nan")
    similarity_lead: float = float("nan")


class _Read:
    """A memory's reading, as arrays."""

    def __init__(self, reading: MemoryReading) -> None:
        self._foreground = _array(reading.foreground)
        self._grid_hw = reading.grid_hw
        self._nearest = _array(reading.similarity.amax(-1)) if reading.similarity.shape[-1] else None

    def was_read(self, row: int) -> bool:
        """Tell whether memory was read for the object; for a joining one it was not."""
        return self._nearest is not None and bool(np.isfinite(self._nearest[row]).any())

    def over(self, row: int, probability: Floats) -> _Seen:
        """Look at the cells of a mask.

        Args:
            row: of the object.
            probability: (H, W) of the frame; the grid reaches as far as the padded frame, which is nearly the same.
        """
        if self._nearest is None or not self.was_read(row):
            return _Seen()
        height, width = self._grid_hw
        cells = np.nan_to_num(cv2.resize(probability, (width, height), interpolation=cv2.INTER_AREA))
        foreground = self._foreground[row]
        nearest = self._nearest[row].reshape(height, width)
        weight, mass = float(cells.sum()), float(foreground.sum())
        if weight <= 0:
            return _Seen()
        around = np.clip(cv2.dilate(cells, np.ones((5, 5), np.uint8)) - cells, 0, None) * np.isfinite(nearest)
        explained = np.where(np.isfinite(nearest), nearest, 0)
        similarity = float((cells * explained).sum()) / weight
        surroundings = float((around * explained).sum()) / max(float(around.sum()), 1e-6)
        return _Seen(
            agreement=float(np.minimum(cells, foreground).sum() / np.maximum(cells, foreground).sum()),
            mass_on_object=float((cells * foreground).sum()) / weight,
            mass_outside=float(((1 - cells) * foreground).sum()) / mass if mass > 0 else float("nan"),
            similarity=similarity,
            similarity_lead=similarity - surroundings,
        )


def _array(tensor: Tensor) -> Floats:
    array: Floats = tensor.detach().float().cpu().numpy()
    return array


def _largest(arrays: list[Floats], like: Floats) -> Floats:
    """Return the pixel-wise maximum; zeros if there are none."""
    largest = np.zeros_like(like)
    for array in arrays:
        np.maximum(largest, array, out=largest)
    return largest


def _binary_entropy(probability: Floats) -> Floats:
    p = np.clip(probability, 1e-6, 1 - 1e-6)
    entropy: Floats = -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
    return entropy


def jumps(area: float, centre: tuple[float, float], before: Trace | None) -> tuple[float, float]:
    """Return the jumps of area and centroid; NaN if there was nothing on the frame before."""
    if before is None or before.missing:
        return float("nan"), float("nan")
    way = float(np.hypot(centre[0] - before.centre[0], centre[1] - before.centre[1]))
    change = abs(float(np.log(area / before.area)))
    return min(change, _LARGEST_JUMP), min(way / float(min(area, before.area)) ** 0.5, _LARGEST_JUMP)
