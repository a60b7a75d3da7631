"""XMem the plain way, over the published state dict: what upstream computes, and at about upstream's cost.

Written from ../shared/reference/xmem.md and the paper (Cheng & Schwing, ECCV 2022), to be compared with, not to be
used: float32 in the default layout, normalisation as it stands in the weights, the image's features repeated for every
object, the similarity of every element to every query as a dense matrix, and a dense product to read it. Objects are
all given on the first frame.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_MIN_FRAMES, _MAX_FRAMES, _PROTOTYPES, _MAX_LONG_TERM, _TOP_K = 5, 10, 128, 10_000, 30


class Transcription:
    """The specification's formulas of the network over a state dict, without modules."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self.state = state

    def conv(self, name: str, x: Tensor, stride: int = 1) -> Tensor:
        weight = self.state[f"{name}.weight"]
        return functional.conv2d(x, weight, self.state.get(f"{name}.bias"), stride, weight.shape[-1] // 2)

    def norm(self, name: str, x: Tensor) -> Tensor:
        names = ("running_mean", "running_var", "weight", "bias")
        mean, variance, weight, bias = (self.state[f"{name}.{part}"] for part in names)
        return functional.batch_norm(x, mean, variance, weight, bias)

    def block(self, name: str, x: Tensor, stride: int, convolutions: int) -> Tensor:
        strided = 2 if convolutions == 3 else 1
        out = x
        for i in range(1, convolutions + 1):
            out = self.norm(f"{name}.bn{i}", self.conv(f"{name}.conv{i}", out, stride if i == strided else 1))
            out = out.relu() if i < convolutions else out
        if f"{name}.downsample.0.weight" in self.state:
            x = self.norm(f"{name}.downsample.1", self.conv(f"{name}.downsample.0", x, stride))
        return (out + x).relu()

    def layer(self, name: str, x: Tensor, blocks: int, stride: int, convolutions: int) -> Tensor:
        for i in range(blocks):
            x = self.block(f"{name}.{i}", x, stride if i == 0 else 1, convolutions)
        return x

    def group_block(self, name: str, x: Tensor) -> Tensor:
        out = self.conv(f"{name}.conv2", self.conv(f"{name}.conv1", x.relu()).relu())
        return out + (self.conv(f"{name}.downsample", x) if f"{name}.downsample.weight" in self.state else x)

    def cbam(self, name: str, x: Tensor) -> Tensor:
        def mlp(v: Tensor) -> Tensor:
            first, second = f"{name}.ChannelGate.mlp.1", f"{name}.ChannelGate.mlp.3"
            hidden = (v @ self.state[f"{first}.weight"].T + self.state[f"{first}.bias"]).relu()
            return hidden @ self.state[f"{second}.weight"].T + self.state[f"{second}.bias"]

        x = x * torch.sigmoid(mlp(x.mean((2, 3))) + mlp(x.amax((2, 3))))[..., None, None]
        pooled = torch.stack([x.amax(1), x.mean(1)], 1)
        attended: Tensor = x * torch.sigmoid(self.conv(f"{name}.SpatialGate.spatial.conv", pooled))
        return attended

    def fuse(self, name: str, image: Tensor, objects: Tensor) -> Tensor:
        x = self.group_block(f"{name}.block1", torch.cat([image.repeat(objects.shape[0], 1, 1, 1), objects], 1))
        return self.group_block(f"{name}.block2", x + self.cbam(f"{name}.attention", x))

    def gru(self, name: str, x: Tensor, h: Tensor) -> Tensor:
        forget, update, new = self.conv(f"{name}.transform", torch.cat([x, h], 1)).chunk(3, 1)
        forget, update = forget.sigmoid(), update.sigmoid()
        moved: Tensor = forget * h * (1 - update) + update * new.tanh()
        return moved

    def key(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return features at strides 4, 8 and 16."""
        x = self.norm("key_encoder.bn1", self.conv("key_encoder.conv1", image, 2)).relu()
        f4 = self.layer("key_encoder.res2", functional.max_pool2d(x, 3, 2, 1), 3, 1, 3)
        f8 = self.layer("key_encoder.layer2", f4, 4, 2, 3)
        return f4, f8, self.layer("key_encoder.layer3", f8, 6, 2, 3)

    def projections(self, f16: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return key, shrinkage and selection."""
        key, shrinkage, selection = (self.conv(f"key_proj.{name}_proj", f16) for name in ("key", "d", "e"))
        return key, shrinkage**2 + 1, selection.sigmoid()

    def value(self, image: Tensor, f16: Tensor, masks: Tensor) -> Tensor:
        """Return (O, Cv, h, w) of (O, H, W) masks."""
        inputs = [torch.cat([image[0], m[None], (masks.sum(0) - m)[None]]) for m in masks]
        x = self.norm("value_encoder.bn1", self.conv("value_encoder.conv1", torch.stack(inputs), 2))
        x = functional.max_pool2d(x, 3, 2, 1).relu()
        for i, stride in enumerate((1, 2, 2), 1):
            x = self.layer(f"value_encoder.layer{i}", x, 2, stride, 2)
        return self.fuse("value_encoder.fuser", f16, x)

    def decode(self, f4: Tensor, f8: Tensor, f16: Tensor, readout: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return (O, H, W) logits and the sensory memory after the frame."""

        def up(x: Tensor, scale: float, mode: str = "bilinear") -> Tensor:
            corners = False if mode == "bilinear" else None
            return functional.interpolate(x, scale_factor=scale, mode=mode, align_corners=corners)

        g16 = self.fuse("decoder.fuser", f16, torch.cat([readout, h], 1))
        g8 = self.group_block("decoder.up_16_8.out_conv", self.conv("decoder.up_16_8.skip_conv", f8) + up(g16, 2))
        g4 = self.group_block("decoder.up_8_4.out_conv", self.conv("decoder.up_8_4.skip_conv", f4) + up(g8, 2))
        logits = self.conv("decoder.pred", g4.relu())
        update = "decoder.hidden_update"
        x = self.conv(f"{update}.g16_conv", g16) + self.conv(f"{update}.g8_conv", up(g8, 0.5, "area"))
        x = x + self.conv(f"{update}.g4_conv", up(torch.cat([g4, logits], 1), 0.25, "area"))
        return up(logits, 4)[:, 0], self.gru(update, x, h)


class ReferenceTracker:
    """`XMemTracker.step` the plain way, with XMem's default settings and one group of objects.

    Args:
        state: the published state dict, float32.
        mem_every: frames from one that is memorised to the next; 5 is XMem's.
    """

    def __init__(self, state: Mapping[str, Tensor], mem_every: int = 5) -> None:
        self._network = Transcription(state)
        self._mem_every = mem_every
        self._hidden = state["decoder.hidden_update.transform.weight"].shape[0] // 3
        self._ids: tuple[int, ...] = ()
        self._sensory = torch.empty(0)
        # Working memory: the first frame, then the others. Columns are elements, as the network gives them.
        self._working: list[dict[str, Tensor]] = []
        self._long_term: dict[str, Tensor] | None = None
        self._clock, self._last_memorised = -1, 0
        self.seconds: dict[str, list[float]] = defaultdict(list)

    @torch.inference_mode()
    def step(
        self, image: Tensor, mask: Tensor | None = None, object_ids: list[int] | None = None, last: bool = False
    ) -> Tensor:
        """Return (1 + objects, H, W) probabilities of a (3, H, W) frame; a mask speaks for all objects."""
        self._clock += 1
        pad_y, pad_x = -image.shape[1] % 16, -image.shape[2] % 16
        padding = (pad_x // 2, pad_x - pad_x // 2, pad_y // 2, pad_y - pad_y // 2)
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (_MEAN, _STD))
        frame = functional.pad((image - mean) / std, padding)[None]
        with self._part("key"):
            f4, f8, f16 = self._network.key(frame)
            key, shrinkage, selection = self._network.projections(f16)
        memorise = not last and (mask is not None or self._clock - self._last_memorised >= self._mem_every)
        if mask is None:
            with self._part("read"):
                readout = self._read(key.flatten(2)[0], selection.flatten(2)[0])
            with self._part("mask decode"):
                readout = readout.view(*readout.shape[:2], *key.shape[-2:])
                logits, sensory = self._network.decode(f4, f8, f16, readout, self._sensory)
            if not memorise:  # else the deep update takes its place
                self._sensory = sensory
            with self._part("post"):
                probabilities = _compete(logits.sigmoid())
        else:
            self._ids = self._ids or tuple(sorted(object_ids or ()))
            planes = torch.stack([(mask == each).float() for each in self._ids])
            probabilities = _compete(functional.pad(planes, padding))
            if not self._working:
                self._sensory = torch.zeros(len(self._ids), self._hidden, *key.shape[-2:])
        if memorise:
            with self._part("value"):
                values = self._network.value(frame, f16, probabilities[1:])
                self._sensory = self._network.gru("value_encoder.hidden_reinforce", values, self._sensory)
            with self._part("memorise"):
                self._store(key[0], shrinkage[0], selection[0], values)
            self._last_memorised = self._clock
        height, width = image.shape[1:]
        return probabilities[:, padding[2] : padding[2] + height, padding[0] : padding[0] + width]

    @contextmanager
    def _part(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name].append(time.perf_counter() - start)

    def _all(self, name: str) -> Tensor:
        long_term = [] if self._long_term is None else [self._long_term]
        return torch.cat([part[name] for part in (*long_term, *self._working)], -1)

    def _read(self, key: Tensor, selection: Tensor) -> Tensor:
        """Return (O, Cv, Q)."""
        scores = _similarity(self._all("key"), self._all("shrinkage"), key, selection)
        nearest, indices = scores.topk(min(_TOP_K, len(scores)), dim=0)
        nearest = nearest.exp()
        affinity = torch.zeros_like(scores).scatter_(0, indices, nearest / nearest.sum(0))
        start = 0 if self._long_term is None else self._long_term["key"].shape[1]  # whose usage is not counted
        use = affinity.sum(1)
        for part in self._working:
            stop = start + part["use"].shape[0]
            part["use"] += use[start:stop]
            part["life"] += 1
            start = stop
        return self._all("values") @ affinity

    def _store(self, key: Tensor, shrinkage: Tensor, selection: Tensor, values: Tensor) -> None:
        count = key[0].numel()
        self._working.append(
            {
                "key": key.flatten(1),
                "shrinkage": shrinkage.flatten(1),
                "selection": selection.flatten(1),
                "values": values.flatten(2),
                "use": torch.zeros(count),
                "life": torch.full((count,), 1e-7),
            }
        )
        if len(self._working) >= _MAX_FRAMES:
            self._consolidate()

    def _consolidate(self) -> None:
        stop = len(self._working) - (_MIN_FRAMES - 1)
        old = self._working[1:stop]
        self._working[1:stop] = []
        parts = {name: torch.cat([frame[name] for frame in old], -1) for name in old[0]}
        chosen = (parts["use"] / parts["life"]).topk(min(_PROTOTYPES, len(parts["use"]))).indices
        key, selection = parts["key"][:, chosen], parts["selection"][:, chosen]
        affinity = _similarity(parts["key"], parts["shrinkage"], key, selection).softmax(0)
        new = {"key": key, "shrinkage": parts["shrinkage"] @ affinity, "values": parts["values"] @ affinity}
        if self._long_term is None:
            self._long_term = new
        else:
            if self._long_term["key"].shape[1] > _MAX_LONG_TERM - _PROTOTYPES:
                raise NotImplementedError("The reference's runs are too short to fill the long-term memory.")
            self._long_term = {name: torch.cat([self._long_term[name], new[name]], -1) for name in new}


def _similarity(key: Tensor, shrinkage: Tensor, query: Tensor, selection: Tensor) -> Tensor:
    """Return (N, Q) of (Ck, N) keys, (1, N) shrinkage, (Ck, Q) queries and their selection."""
    squares = key.T.square() @ selection
    products = 2 * (key.T @ (query * selection))
    rest = (selection * query.square()).sum(0, keepdim=True)
    return (-squares + products - rest) * shrinkage.T / math.sqrt(len(key))


def _compete(objects: Tensor) -> Tensor:
    """Return (1 + O, H, W) probabilities of (O, H, W) ones: XMem's soft aggregation."""
    everything = torch.cat([(1 - objects).prod(0, keepdim=True), objects]).clamp(1e-7, 1 - 1e-7)
    return (everything / (1 - everything)).log().softmax(0)
