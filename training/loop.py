"""What both training commands share: settings, optimiser, running average, checkpoints, resuming, curves."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import tomllib
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tam_backend.models.devices import resolve_device
from training.streams import Make, SampleStream

CHECKPOINT, BEST, CURVES = "checkpoint.pt", "best.pt", "curves.csv"


@dataclass(frozen=True)
class TrainingConfig:
    """Settings that both commands know; a command's own settings are added by its subclass.

    Args:
        output: folder for checkpoints and curves.
        data: the root of BSDS500.
        cache: folder for what is computed of the data once.
        foregrounds: folder of the whole things in BSDS500's photographs, which a teacher found (`training.teacher`) or
            people marked; "" does without.
        agreed: how far the regions that people cut must agree with such a thing, 0..1.
        photos: folder of sets of photographs with masks (`training.photographs`); "" does without.
        videos: folder of real videos with masks; "" does without.
        shares: how often a photograph is drawn from "bsds500", "photos" and "videos"; {} = every picture alike.
        cutouts: folder of pictures of things on a transparent ground; "" does without.
        packed: folder of what `training.packing` made of all these, which then are not looked for.
        splits: of BSDS500 to train on; "test" is kept for validation.
        start: safetensors to start from; "" starts from the random numbers of `seed`.
        seed: of everything.
        side: of the square training frames, pixels; a multiple of 32.
        batch: clips or stills per iteration.
        minutes: of training in all, over all resumptions; the rates fall to zero over the last `decay` of it.
        head_rate, backbone_rate: AdamW's rates.
        frozen_blocks: how many of the backbone's blocks are left as they are, besides the stem.
        warmup: iterations.
        average: decay of the running average of the weights, per iteration.
        device: where the network is trained: "auto", "cpu", "cuda", ...
        threads: of PyTorch.
        workers: processes that make samples.
        checkpoint_every, validate_every: minutes; validation 0 = never.
    """

    output: str
    data: str
    cache: str
    start: str = ""
    foregrounds: str = ""
    agreed: float = 0.6
    photos: str = ""
    videos: str = ""
    shares: dict[str, float] = field(default_factory=dict)
    cutouts: str = ""
    packed: str = ""
    splits: list[str] = field(default_factory=lambda: ["train", "val"])
    seed: int = 0
    side: int = 256
    batch: int = 8
    minutes: float = 60.0
    decay: float = 0.5
    head_rate: float = 2e-4
    backbone_rate: float = 2e-5
    weight_decay: float = 0.02
    frozen_blocks: int = 6
    warmup: int = 50
    average: float = 0.998
    device: str = "cpu"
    threads: int = 1
    workers: int = 1
    checkpoint_every: float = 4.0
    validate_every: float = 15.0
    validation: str = ""


Config = TypeVar("Config", bound=TrainingConfig)


def read_config(kind: type[Config], path: Path) -> Config:
    """Read a TOML file into a config. Raises ValueError on a setting nobody knows."""
    values = tomllib.loads(path.read_text())
    unknown = set(values) - {f.name for f in dataclasses.fields(kind)}
    if unknown:
        raise ValueError(f"{path} sets {', '.join(sorted(unknown))}, which {kind.__name__} does not know.")
    return kind(**values)


def config_of_command_line(kind: type[Config], purpose: str | None) -> Config:
    """Read the config that `--config` names; `--seconds` and `--device` overrule it."""
    parser = argparse.ArgumentParser(description=purpose)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--seconds", type=float, help="of training in all, instead of the config's minutes")
    parser.add_argument("--device", help="instead of the config's")
    options = parser.parse_args()
    config = read_config(kind, options.config)
    if options.seconds is not None:
        config = dataclasses.replace(config, minutes=options.seconds / 60)
    return dataclasses.replace(config, device=options.device or config.device)


def rate_factor(iteration: int, progress: float, warmup: int, decay: float) -> float:
    """Return what the rates are multiplied by: up linearly, flat, and down along a cosine over the last `decay`."""
    up = min(1.0, (iteration + 1) / warmup)
    down = max(0.0, (progress - (1 - decay)) / decay) if decay else 0.0
    return up * (0.5 * (1 + math.cos(math.pi * min(down, 1.0))) * 0.98 + 0.02)


Figures = Mapping[str, Tensor]
Loss = Callable[[nn.Module, Tensor, Tensor, float], tuple[Tensor, Figures]]
Validate = Callable[[nn.Module], Mapping[str, float]]


class Trainer:
    """Runs iterations until the minutes are spent; may be killed at any time and started again.

    Args:
        network: with a `backbone` of blocks; brought to the config's device.
        config: the settings.
        loss: of the network and one batch, whose tensors are on the network's device, at a progress of 0..1; and
            figures to be logged.
        samples: given a seed that moves on with every resumption, so that no sample is seen twice, an endless stream.
        validate: figures of the averaged network on real video, and under "score" the one that decides; or None.
    """

    def __init__(
        self,
        network: nn.Module,
        config: TrainingConfig,
        loss: Loss,
        samples: Make,
        validate: Validate | None = None,
    ) -> None:
        self.device = resolve_device(config.device)
        torch.set_num_threads(config.threads)
        self.network = network.to(self.device).to(memory_format=torch.channels_last)
        self.config, self._loss, self._samples, self._validate = config, loss, samples, validate
        self.folder = Path(config.output)
        self.folder.mkdir(parents=True, exist_ok=True)
        freeze(network, config.frozen_blocks)
        backbone, heads = split_parameters(network)
        self.optimiser = torch.optim.AdamW(
            [{"params": backbone, "base": config.backbone_rate}, {"params": heads, "base": config.head_rate}],
            lr=config.head_rate,
            weight_decay=config.weight_decay,
            fused=self.device.type == "cuda",
        )
        self.average = {name: value.clone() for name, value in network.state_dict().items()}
        self.iteration, self.seconds, self.waited, self.best = 0, 0.0, 0.0, -math.inf
        self._resume()

    def run(self) -> None:
        """Train. The last thing it does is to write a checkpoint."""
        config = self.config
        stream = iter(self._batches(config.seed + 7919 * self.iteration))
        last_saved = last_validated = self.seconds
        sums: dict[str, Tensor] = {}
        counted = 0
        while self.seconds < config.minutes * 60:
            started = time.monotonic()
            frames, labels = next(stream)
            self.waited += time.monotonic() - started
            figures = self._step(frames.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True))
            self.seconds += time.monotonic() - started
            counted += 1
            for name, value in figures.items():
                sums[name] = sums.get(name, torch.zeros((), device=self.device)) + value
            if self.iteration % 25 == 0:
                self._log("train", {name: float(value) / counted for name, value in sums.items()})
                sums, counted = {}, 0
            if self.seconds - last_saved > config.checkpoint_every * 60:
                self._save()
                last_saved = self.seconds
            if self._validate and config.validate_every and self.seconds - last_validated > config.validate_every * 60:
                self.validate()
                last_validated = self.seconds
        self._save()
        print(f"{self.iteration} iterations in {self.seconds:.0f} s; {self.waited:.0f} s of them waited for samples.")
        self.validate()

    def _batches(self, seed: int) -> torch.utils.data.DataLoader[tuple[Tensor, Tensor]]:
        return torch.utils.data.DataLoader(
            SampleStream(self._samples, seed),
            batch_size=self.config.batch,
            num_workers=self.config.workers,
            prefetch_factor=3 if self.config.workers else None,
            pin_memory=self.device.type == "cuda",
        )

    def validate(self) -> None:
        """Measure the averaged network on real video and keep it if it is the best so far."""
        if self._validate is None:
            return
        kept = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.network.load_state_dict(self.average)
        self.network.eval()
        figures = self._validate(self.network)
        self.network.load_state_dict(kept)
        self.network.train()
        self._log("validation", figures)
        torch.save(
            {"average": self.average, "iteration": self.iteration, "figures": dict(figures)},
            self.folder / f"at-{self.iteration:06d}.pt",
        )
        if figures["score"] > self.best:
            self.best = figures["score"]
            torch.save(
                {"average": self.average, "iteration": self.iteration, "figures": dict(figures)}, self.folder / BEST
            )
        # At once: a kill must not make the trainer forget what was best.
        self._save()

    def _step(self, frames: Tensor, labels: Tensor) -> Figures:
        config = self.config
        progress = self.seconds / (config.minutes * 60)
        factor = rate_factor(self.iteration, progress, config.warmup, config.decay)
        for group in self.optimiser.param_groups:
            group["lr"] = group["base"] * factor
        loss, figures = self._loss(self.network, frames, labels, progress)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_([p for p in self.network.parameters() if p.requires_grad], 3.0)
        if torch.isfinite(norm):
            self.optimiser.step()
        self.iteration += 1
        decay = min(config.average, (1 + self.iteration) / (10 + self.iteration))
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                self.average[name].lerp_(value, 1 - decay)
        return {"loss": loss.detach(), "rate": torch.tensor(factor, device=self.device), "norm": norm, **figures}

    def _save(self) -> None:
        """Write the checkpoint next to its place and move it there, so that a kill in between loses nothing."""
        state = {
            "network": self.network.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "iteration": self.iteration,
            "seconds": self.seconds,
            "waited": self.waited,
            "best": self.best,
        }
        partial = self.folder / (CHECKPOINT + ".part")
        torch.save(state, partial)
        partial.replace(self.folder / CHECKPOINT)

    def _resume(self) -> None:
        path = self.folder / CHECKPOINT
        if not path.exists():
            return
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.average = state["average"]
        self.iteration, self.seconds, self.best = state["iteration"], state["seconds"], state["best"]
        self.waited = state["waited"]

    def _log(self, kind: str, figures: Mapping[str, float]) -> None:
        line = {name: f"{value:.4f}" for name, value in figures.items()}
        print(kind, self.iteration, f"{self.seconds / 60:.1f} min", line, flush=True)
        with (self.folder / CURVES).open("a", newline="") as file:
            writer = csv.writer(file)
            for name, value in line.items():
                writer.writerow([kind, self.iteration, f"{self.seconds:.0f}", name, value])


def run(
    kind: type[Config],
    purpose: str | None,
    new_network: Callable[[], nn.Module],
    lesson: Callable[[Config], Loss],
    samples: Callable[[Config], Make],
    validation: Callable[[str], Validate],
) -> None:
    """Do what both commands do: read the config, train, resume where an earlier run stopped.

    Args:
        kind: of config.
        purpose: for --help.
        new_network: makes the network, with the random numbers of the config's seed.
        lesson: makes the loss.
        samples: makes the streams of samples.
        validation: makes what measures a network, of the config's folders of clips.
    """
    config = config_of_command_line(kind, purpose)
    torch.manual_seed(config.seed)
    network = new_network()
    load_start(network, config.start)
    validate = validation(config.validation) if config.validation else None
    Trainer(network, config, lesson(config), samples(config), validate).run()


def load_start(network: nn.Module, path: str) -> None:
    """Fill a network with safetensors, of any precision, or leave it as it is if there is no path."""
    if path:
        network.load_state_dict({name: value.float() for name, value in load_file(path).items()})


def freeze(network: nn.Module, blocks: int) -> None:
    """Leave the stem and the first blocks of the backbone as they are."""
    backbone = network.get_submodule("backbone")
    fixed = [backbone.get_submodule("stem"), *(backbone.get_submodule(f"blocks.{i}") for i in range(blocks))]
    for module in fixed:
        module.requires_grad_(False)


def split_parameters(network: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return the trainable parameters (of the backbone, of the rest)."""
    backbone: list[nn.Parameter] = []
    heads: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            (backbone if name.startswith("backbone.") else heads).append(parameter)
    return backbone, heads
