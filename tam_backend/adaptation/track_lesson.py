"""What the tracker learns from a batch of clips: given the masks of the first frame, those of all others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from tam_backend.adaptation.mask_losses import batch_iou, mask_loss
from tam_backend.models.compact_tracker.compact_network import MEMORY_STRIDE, CompactNetwork, TrackedFrame
from tam_backend.models.devices import fast_precision
from tam_backend.models.memory_reading.affinity import memory_rows, query_rows

UNKNOWN = 255
"""The label of all pixels of a frame that nobody drew."""

_OBJECTS = 2
_TOP_K = 30


class TrackRules(Protocol):
    """How clips are shown."""

    @property
    def hardest(self) -> float:
        """Share of the pixels that the cross entropy falls to over the first third of the training."""

    @property
    def hide_second(self) -> float:
        """How often the second object is not given, so that it is something to ignore."""

    @property
    def middle_share(self) -> float:
        """How likely each frame between the first and the last one is in memory; those two always are."""

    @property
    def drop_previous(self) -> float:
        """How often the decoder does not see the mask of the frame before."""


class TrackLesson:
    """The loss of one batch: given the masks of the first frame, the masks of all others."""

    def __init__(self, rules: TrackRules) -> None:
        self._rules = rules

    def __call__(
        self, network: nn.Module, frames: Tensor, labels: Tensor, progress: float
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Return the loss and the mean IoU on the second, a middle and the last frame.

        Args:
            network: a CompactNetwork.
            frames: (B, T, 3, S, S) uint8.
            labels: (B, T, S, S) uint8; 1 and 2 are the objects. A frame of UNKNOWN is tracked through, and not judged;
                the first one is known.
            progress: 0..1, how much of the training is done.
        """
        if not isinstance(network, CompactNetwork):
            raise TypeError(f"The lesson is for CompactNetwork, not for {type(network).__name__}.")
        device = labels.device
        batch, length, side = labels.shape[:3]
        truth = torch.stack([labels == i + 1 for i in range(_OBJECTS)], 1).float()  # B x O x T x S x S
        # What is not asked for is not computed: most clips of a project show one object.
        rows = _Rows(self._asked(truth))
        truth = rows.of(truth.flatten(0, 1))  # R x T x S x S
        known = (labels[:, :, 0, 0] != UNKNOWN).float()[rows.clip]  # R x T
        hardest = 1 - (1 - self._rules.hardest) * min(1.0, progress / 0.3)
        in_memory = torch.rand(length) < self._rules.middle_share
        shown = sorted({1, length // 2, length - 1})

        loss = torch.zeros((), device=device)
        figures: dict[str, Tensor] = {}
        with fast_precision(device):
            pictures = frames.flatten(0, 1).float() / 255
            clip = _by_time(network.encode(network.backbone.normalise(pictures)), batch, length)
            masks = truth[:, 0, None]
            others = rows.others(masks)
            seen = [_per_object(frame, rows) for frame in clip]
            values = [network.encode_value(seen[0], masks, others)]
            grid = side // MEMORY_STRIDE
            sensory = torch.zeros(len(masks), network.SENSORY_CHANNELS, grid, grid, device=device)
            for t in range(1, length):
                remembered = [j for j in range(t) if j in (0, t - 1) or in_memory[j]]
                with torch.autocast(device.type, enabled=False):
                    own = [rows.spread(values[j]) for j in remembered]
                    readout = rows.of(read_memory([clip[j] for j in remembered], own, clip[t]))
                kept = (torch.rand(len(masks), 1, 1, 1, device=device) >= self._rules.drop_previous).float()
                logits, sensory = network.decode(seen[t], readout, sensory, masks * kept, others * kept)
                logits = functional.interpolate(logits, (side, side), mode="bilinear", align_corners=False)[:, 0]
                judged = known[:, t]
                share = judged.sum().clamp(min=1)
                loss = loss + (mask_loss(logits, truth[:, t], hardest) * judged).sum() / share / (length - 1)
                masks = torch.sigmoid(logits)[:, None]
                others = rows.others(masks)
                if t < length - 1:
                    values.append(network.encode_value(seen[t], masks, others))
                if t in shown:
                    iou = batch_iou(logits.detach(), truth[:, t])
                    figures[f"iou{t}"] = (iou * judged).sum() / share
        return loss, figures

    def _asked(self, truth: Tensor) -> Tensor:
        """Return (B, O) bool: the first object always, the second where it can be seen and is not hidden."""
        visible = truth[:, 1, 0].flatten(1).sum(1) > 20
        hidden = torch.rand(len(truth), device=truth.device) < self._rules.hide_second
        return torch.stack([torch.ones_like(visible), visible & ~hidden], 1)


class _Rows:
    """The objects that are asked for, R of them, of all those of B clips.

    Args:
        asked: (B, O) bool.
    """

    def __init__(self, asked: Tensor) -> None:
        self._count = asked.numel()
        self._at = asked.flatten().nonzero()[:, 0]
        self.clip = self._at // _OBJECTS

    def of(self, every: Tensor) -> Tensor:
        """(B * O, ...) -> (R, ...)."""
        return every[self._at]

    def spread(self, rows: Tensor) -> Tensor:
        """(R, ...) -> (B * O, ...), zeros for objects that are not asked for."""
        return rows.new_zeros(self._count, *rows.shape[1:]).index_copy(0, self._at, rows)

    def others(self, masks: Tensor) -> Tensor:
        """Return for each of (R, ...) masks the one of its clip's other object."""
        every = self.spread(masks)
        return self.of(every.view(-1, _OBJECTS, *every.shape[1:]).flip(1).flatten(0, 1))


def read_memory(memory: list[TrackedFrame], values: list[Tensor], query: TrackedFrame) -> Tensor:
    """Read every clip's memory as inference does, but without its window, and all clips in one dense product.

    Args:
        memory: the frames in memory, B clips each.
        values: (B * O, C, h, w) for each of them.
        query: the frame that asks, of B clips.

    Returns:
        (B * O, C, h, w) float32.
    """
    batch, _, height, width = query.key.shape
    keys, shrinkage = (torch.cat([_rows(getattr(frame, part)) for frame in memory], 1) for part in ("key", "shrinkage"))
    rows = memory_rows(keys.flatten(0, 1), shrinkage.flatten(0, 1)).view(batch, keys.shape[1], -1)
    queries = query_rows(_rows(query.key).flatten(0, 1), _rows(query.selection).flatten(0, 1))
    scores = queries.view(batch, height * width, -1) @ rows.mT  # B x Q x N
    nearest, columns = scores.topk(min(_TOP_K, scores.shape[2]), 2)
    weights = torch.zeros_like(scores).scatter(2, columns, nearest.softmax(2))
    own = torch.cat([value.float().view(batch, -1, height * width) for value in values], 2)  # B x (O C) x N
    return (own @ weights.mT).reshape(values[0].shape)


def _rows(features: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, h w, C)."""
    return features.flatten(2).mT


def _by_time(frames: TrackedFrame, batch: int, length: int) -> list[TrackedFrame]:
    """(B T, ...) -> T times (B, ...)."""
    parts = {f.name: getattr(frames, f.name) for f in fields(frames)}
    return [
        TrackedFrame(**{name: part.view(batch, length, *part.shape[1:])[:, t] for name, part in parts.items()})
        for t in range(length)
    ]


def _per_object(frame: TrackedFrame, rows: _Rows) -> TrackedFrame:
    """Repeat what encoder and decoder of masks use of a frame, once for every object that is asked for."""
    return TrackedFrame(
        stride4=frame.stride4[rows.clip],
        stride8=frame.stride8[rows.clip],
        context16=frame.context16[rows.clip],
        key=frame.key,
        shrinkage=frame.shrinkage,
        selection=frame.selection,
    )
