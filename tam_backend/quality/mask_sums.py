"""Evidence on a GPU: sums over the frame of all objects at once, a few numbers of which come to the host.

The same measurements as `FrameEvidence`'s, but those that follow outlines or connected components. Where that one cuts
out the pixels around an object, here the others do not count.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tam_backend.models.captured import captured
from tam_backend.models.devices import fast_dtype
from tam_backend.models.protocols import TrackingStep
from tam_backend.models.transfers import Transfer
from tam_backend.quality.evidence import (
    BAND_SHARE,
    NEGLIGIBLE,
    WIDEST_BAND,
    AbsenceEvidence,
    Evidence,
    Look,
    Observation,
    Trace,
    absence,
    jumps,
)

MEASURED = frozenset(Evidence.__annotations__) - {"similarity_lead", "stray_share", "raggedness"} | frozenset(
    AbsenceEvidence.__annotations__
)
"""The measurements that are made here; the others are NaN."""

_UNKNOWN = float("nan")


class _Sums(NamedTuple):
    """What the device tells of one object: sums and counts of pixels of the frame, then of cells of the grid.

    "Near" are the pixels of the box around those where the object is not negligible; p is its probability. Entropies
    are in nats. Cells: how many of them a similarity is known of, and sums over them.
    """

    peak: float
    everywhere: float
    near: float
    area: float
    inside: float
    lead: float
    competition: float
    x: float
    y: float
    band: float
    band_entropy: float
    core: float
    core_entropy: float
    read: float = 0.0
    cells: float = 0.0
    foreground: float = 0.0
    shared: float = 0.0
    joined: float = 0.0
    both: float = 0.0
    similarity: float = 0.0


@cache
def mask_sums(_device: torch.device) -> MaskSums:
    """Return the one for a device: what it has recorded (`captured`) serves every pass. Under the device's lock."""
    return MaskSums()


class MaskSums:
    """Looks at tracked frames, without waiting for what it sees."""

    @torch.inference_mode()
    def look(self, step: TrackingStep) -> Look:
        """Ask for the sums of a tracker's answer; it may be changed or forgotten at once."""
        reading = step.reading
        if reading is None or not reading.similarity.shape[-1]:
            return _Look(step.probabilities[0].numel(), Transfer(self._over_pixels(step.probabilities)))
        nearest = reading.similarity.amax(-1).view_as(reading.foreground)
        sums = self._over_all(step.probabilities, reading.foreground, nearest)
        return _Look(step.probabilities[0].numel(), Transfer(sums))

    @captured
    def _over_pixels(self, probabilities: Tensor) -> Tensor:
        return _over_pixels(probabilities.float())

    @captured
    def _over_all(self, probabilities: Tensor, foreground: Tensor, nearest: Tensor) -> Tensor:
        exact = probabilities.float()
        return torch.cat([_over_pixels(exact), _over_cells(exact[1:], foreground.float(), nearest)])


class _Look:
    """What `MaskSums` saw: (`_Sums`, objects), without those over cells where nothing was read."""

    def __init__(self, pixels: int, transfer: Transfer) -> None:
        self._pixels = pixels
        self._transfer = transfer
        self._rows: list[_Sums] | None = None

    def observe(self, channel: int, before: Trace | None) -> Observation:
        """Measure one object; see `FrameEvidence.observe`. Waits for the device."""
        if self._rows is None:
            (columns,) = self._transfer.arrays()
            self._rows = [_Sums(*row) for row in columns.T.tolist()]
        seen = self._rows[channel - 1]
        if not seen.area:
            return absence(seen.peak, seen.everywhere, before)
        area, position = seen.area, (seen.x / seen.area, seen.y / seen.area)
        jump_area, jump_centre = jumps(area, position, before)
        was_read = seen.read > 0 and seen.cells > 0
        evidence = Evidence(
            expected_iou=seen.inside / (area + seen.near - seen.inside),
            margin=seen.lead / area,
            band_entropy=_in_bits(seen.band_entropy, seen.band),
            core_entropy=_in_bits(seen.core_entropy, seen.core),
            agreement=seen.shared / seen.joined if was_read else _UNKNOWN,
            mass_on_object=seen.both / seen.cells if was_read else _UNKNOWN,
            mass_outside=(seen.foreground - seen.both) / seen.foreground if was_read and seen.foreground else _UNKNOWN,
            similarity=seen.similarity / seen.cells if was_read else _UNKNOWN,
            similarity_lead=_UNKNOWN,
            area_jump=jump_area,
            centroid_jump=jump_centre,
            stray_share=_UNKNOWN,
            competition=seen.competition / area,
            log_area=float(np.log(area / self._pixels)),
            raggedness=_UNKNOWN,
        )
        return Observation(evidence, Trace(area, position))


def _in_bits(nats: float, pixels: float) -> float:
    return nats / pixels / float(np.log(2)) if pixels else _UNKNOWN


def _over_pixels(probabilities: Tensor) -> Tensor:
    """Return (`_Sums` up to the cells', objects) float32 for (1 + objects, H, W)."""
    claimed = probabilities[1:]
    p = claimed.nan_to_num()
    others = _strongest_other(claimed)
    rivals = torch.maximum(others, probabilities[:1])
    above = claimed > NEGLIGIBLE
    near = _spanned(above.any(2))[:, :, None] & _spanned(above.any(1))[:, None, :]
    mask = (p > rivals) & near
    area = mask.sum((1, 2))
    reach = (BAND_SHARE * area.double().sqrt()).round().clamp(1, WIDEST_BAND)
    core = near & ~_reached(near & ~mask, reach)
    band = near & _reached(mask, reach) & ~core
    sure = p.clamp(1e-6, 1 - 1e-6)
    entropy = functional.binary_cross_entropy(sure, sure, reduction="none")
    height, width = mask.shape[1:]
    return torch.stack(
        [
            p.amax((1, 2)),
            p.sum((1, 2)),
            _total(p, near),
            area,
            _total(p, mask),
            _total(p - rivals, mask),
            _total(others, mask),
            (mask.sum(1) * torch.arange(width, device=mask.device)).sum(1),
            (mask.sum(2) * torch.arange(height, device=mask.device)).sum(1),
            band.sum((1, 2)),
            _total(entropy, band),
            core.sum((1, 2)),
            _total(entropy, core),
        ]
    )


def _over_cells(probabilities: Tensor, foreground: Tensor, nearest: Tensor) -> Tensor:
    """Return (`_Sums` from the cells' on, objects) float32 for (objects, H, W), (objects, h, w) and (objects, h, w)."""
    rows, columns = (
        area_weights(size, cells, probabilities)
        for size, cells in zip(probabilities.shape[1:], foreground.shape[1:], strict=True)
    )
    cells = rows @ probabilities.nan_to_num() @ columns.T  # the host's have no number where one pixel has none
    known = nearest.isfinite()
    return torch.stack(
        [
            known.sum((1, 2)),
            cells.sum((1, 2)),
            foreground.sum((1, 2)),
            torch.minimum(cells, foreground).sum((1, 2)),
            torch.maximum(cells, foreground).sum((1, 2)),
            (cells * foreground).sum((1, 2)),
            _total(cells * nearest, known),
        ]
    )


def area_weights(size: int, cells: int, like: Tensor) -> Tensor:
    """Return (cells, size): what each of `size` pixels adds to each cell's mean, as OpenCV's INTER_AREA has it."""
    length = size / cells
    begin = torch.arange(cells, device=like.device, dtype=like.dtype)[:, None] * length
    pixel = torch.arange(size, device=like.device, dtype=like.dtype)
    return (torch.minimum(begin + length, pixel + 1) - torch.maximum(begin, pixel)).clamp_(min=0) / length


def _strongest_other(objects: Tensor) -> Tensor:
    """Return, for each of (objects, H, W), the largest of the others at every pixel; 0 where there is none."""
    before = objects.cummax(0).values
    after = objects.flip(0).cummax(0).values.flip(0)
    none = torch.zeros_like(objects[:1])
    return torch.maximum(torch.cat([none, before[:-1]]), torch.cat([after[1:], none])).clamp(min=0)


def _spanned(flags: Tensor) -> Tensor:
    """Set everything between the first and the last flag of each row of (objects, length)."""
    return (flags.cumsum(1) > 0) & (flags.flip(1).cumsum(1).flip(1) > 0)


def _reached(mask: Tensor, reach: Tensor) -> Tensor:
    """Dilate (objects, H, W) by each object's (objects,) reach to all sides: a square.

    By counting the mask's pixels within reach, along rows and then columns: at most 11 x 11, which half precision holds
    exactly.
    """
    dtype = fast_dtype(mask.device)
    rows, columns = (_within(length, reach).to(dtype) for length in mask.shape[1:])
    return rows @ mask.to(dtype) @ columns > 0


def _within(length: int, reach: Tensor) -> Tensor:
    """Return (objects, length, length): whether two places are no farther apart than an object's reach."""
    place = torch.arange(length, device=reach.device)
    return (place[:, None] - place).abs() <= reach[:, None, None]


def _total(values: Tensor, where: Tensor) -> Tensor:
    """Return (objects,): the sum of (objects, ...) values where they count. What is NaN elsewhere does no harm."""
    return torch.where(where, values, 0).sum((1, 2))
