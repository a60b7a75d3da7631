"""Train the tracker: `python -m training.tracker --config training/configs/tracker.toml`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from tam_backend.models.xmem.affinity import memory_rows, query_rows, read_out, similarity, top_k_softmax
from tam_backend.models.xmem.compact import MEMORY_STRIDE, CompactNetwork, TrackedFrame
from training.clips import EXITS, ClipMaker
from training.loop import Trainer, TrainingConfig, batch_iou, load_start, mask_loss, read_config
from training.streams import SampleStream
from training.things import load_pictures
from training.validation import tracker_validation

_OBJECTS = 2
_TOP_K = 30


@dataclass(frozen=True)
class TrackerConfig(TrainingConfig):
    """Settings of `training.tracker`.

    Args:
        length: frames per clip.
        hardest: share of the pixels that the cross entropy falls to over the first third of the training.
        hide_second: how often the second object is not given, so that it is something to ignore.
        middle_share: how likely each frame between the first and the last one is in memory; those two always are.
        drop_previous: how often the decoder does not see the mask of the frame before.
        exits: how often a cut-out leaves the frame and comes back.
    """

    length: int = 6
    hardest: float = 0.6
    hide_second: float = 0.4
    middle_share: float = 0.5
    drop_previous: float = 0.25
    exits: float = EXITS


class TrackLesson:
    """The loss of one batch: given the masks of the first frame, the masks of all others."""

    def __init__(self, config: TrackerConfig) -> None:
        self._config = config

    def __call__(
        self, network: nn.Module, frames: Tensor, labels: Tensor, progress: float
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the loss and the mean IoU on the second, a middle and the last frame.

        Args:
            network: a CompactNetwork.
            frames: (B, T, 3, S, S) uint8.
            labels: (B, T, S, S) uint8; 1 and 2 are the objects.
            progress: 0..1, how much of the training is done.
        """
        assert isinstance(network, CompactNetwork)
        batch, length, side = labels.shape[:3]
        truth = torch.stack([labels == i + 1 for i in range(_OBJECTS)], 1).float()  # B x O x T x S x S
        asked = self._asked(truth)
        weight = asked.flatten().float()
        given = truth[:, :, 0] * asked[:, :, None, None]
        hardest = 1 - (1 - self._config.hardest) * min(1.0, progress / 0.3)
        in_memory = torch.rand(length) < self._config.middle_share
        shown = sorted({1, length // 2, length - 1})

        loss, figures = torch.zeros(()), {}
        with torch.autocast("cpu", torch.bfloat16):
            pictures = frames.flatten(0, 1).float() / 255
            clip = _by_time(network.encode(network.backbone.normalise(pictures)), batch, length)
            masks, others = given.flatten(0, 1)[:, None], given.flip(1).flatten(0, 1)[:, None]
            seen = [_per_object(frame) for frame in clip]
            values = [network.encode_value(seen[0], masks, others)]
            sensory = torch.zeros(
                batch * _OBJECTS, network.SENSORY_CHANNELS, side // MEMORY_STRIDE, side // MEMORY_STRIDE
            )
            for t in range(1, length):
                remembered = [j for j in range(t) if j in (0, t - 1) or in_memory[j]]
                with torch.autocast("cpu", enabled=False):
                    readout = read_memory([clip[j] for j in remembered], [values[j] for j in remembered], clip[t])
                kept = (torch.rand(len(masks), 1, 1, 1) >= self._config.drop_previous).float()
                logits, sensory = network.decode(seen[t], readout, sensory, masks * kept, others * kept)
                logits = functional.interpolate(logits, (side, side), mode="bilinear", align_corners=False)[:, 0]
                target = truth[:, :, t].flatten(0, 1)
                loss = loss + (mask_loss(logits, target, hardest) * weight).sum() / weight.sum() / (length - 1)
                masks = torch.sigmoid(logits)[:, None] * weight[:, None, None, None]
                others = masks.view(batch, _OBJECTS, side, side).flip(1).flatten(0, 1)[:, None]
                if t < length - 1:
                    values.append(network.encode_value(seen[t], masks, others))
                if t in shown:
                    iou = batch_iou(logits.detach(), target)
                    figures[f"iou{t}"] = float((iou * weight).sum() / weight.sum())
        return loss, figures

    def _asked(self, truth: Tensor) -> Tensor:
        """Return (B, O) bool: the first object always, the second where it can be seen and is not hidden."""
        visible = truth[:, 1, 0].flatten(1).sum(1) > 20
        hidden = torch.rand(len(truth)) < self._config.hide_second
        return torch.stack([torch.ones_like(visible), visible & ~hidden], 1)


def read_memory(memory: list[TrackedFrame], values: list[Tensor], query: TrackedFrame) -> Tensor:
    """Read every clip's memory as inference does, but without its window.

    Args:
        memory: the frames in memory, B clips each.
        values: (B * O, C, h, w) for each of them.
        query: the frame that asks, of B clips.

    Returns:
        (B * O, C, h, w).
    """
    batch, _, height, width = query.key.shape
    objects, channels = values[0].shape[0] // batch, values[0].shape[1]
    read = []
    for b in range(batch):
        keys = torch.cat([_rows(frame.key[b]) for frame in memory])
        shrinkage = torch.cat([_rows(frame.shrinkage[b]) for frame in memory])
        queries = query_rows(_rows(query.key[b]), _rows(query.selection[b]))
        top = top_k_softmax(similarity(queries, memory_rows(keys, shrinkage)), _TOP_K)
        own = [value[b * objects : (b + 1) * objects].flatten(0, 1) for value in values]  # each (O C) x h x w
        read.append(
            read_out(top, torch.cat([_rows(value) for value in own])).T.reshape(objects, channels, height, width)
        )
    return torch.cat(read)


def _rows(features: Tensor) -> Tensor:
    """(C, h, w) -> (h w, C)."""
    return features.flatten(1).T


def _by_time(frames: TrackedFrame, batch: int, length: int) -> list[TrackedFrame]:
    """(B T, ...) -> T times (B, ...)."""
    parts = {f.name: getattr(frames, f.name) for f in fields(frames)}
    return [
        TrackedFrame(**{name: part.view(batch, length, *part.shape[1:])[:, t] for name, part in parts.items()})
        for t in range(length)
    ]


def _per_object(frame: TrackedFrame) -> TrackedFrame:
    """Repeat what encoder and decoder of masks use of a frame, once for every object of every clip."""
    return TrackedFrame(
        stride4=frame.stride4.repeat_interleave(_OBJECTS, 0),
        stride8=frame.stride8.repeat_interleave(_OBJECTS, 0),
        context16=frame.context16.repeat_interleave(_OBJECTS, 0),
        key=frame.key,
        shrinkage=frame.shrinkage,
        selection=frame.selection,
    )


def main() -> None:
    """Read the config, train, resume where an earlier run stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    config = read_config(TrackerConfig, parser.parse_args().config)
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    network = CompactNetwork()
    load_start(network, config.start)
    images, cutouts = load_pictures(config)
    make = partial(ClipMaker, images, config.side, config.length, exits=config.exits, cutouts=cutouts)
    Trainer(
        network,
        config,
        TrackLesson(config),
        lambda seed: torch.utils.data.DataLoader(
            SampleStream(make, seed),
            batch_size=config.batch,
            num_workers=1,
            prefetch_factor=3,
        ),
        tracker_validation(config.validation) if config.validation else None,
    ).run()


if __name__ == "__main__":
    main()
