"""How a network learns for a while, small steps on its heads alone, so that it can be killed and go on."""

from __future__ import annotations

import errno
import io
import pickle
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from tam_backend.adaptation.samples import Sample
from tam_backend.errors import OutputError

Lesson = Callable[[nn.Module, Tensor, Tensor, float], tuple[Tensor, Mapping[str, Tensor]]]

_WEIGHT_DECAY, _LARGEST_GRADIENT = 0.02, 3.0
_WARMUP, _FALLS_OVER = 20, 0.6
# Of the running average of the weights, an iteration; shorter at the beginning.
_AVERAGE = 0.98
_CHECKPOINT_EVERY_S = 20.0

CHECKPOINT = ".learning"
"""How the names of checkpoints end."""


@dataclass(frozen=True)
class ClickRules:
    """How stills are clicked; see `click_lesson.ClickRules`."""

    rounds: int = 3
    click_radius: float = 4.3
    first_weight: float = 2.0
    seed: int = 0
    workers: int = 1


@dataclass(frozen=True)
class TrackRules:
    """How clips are shown; see `track_lesson.TrackRules`."""

    hardest: float = 0.6
    hide_second: float = 0.2
    middle_share: float = 0.5
    drop_previous: float = 0.25


@dataclass(frozen=True)
class Spell:
    """One network's time to learn.

    Args:
        seconds, iterations: of learning, over all resumptions; it ends with whichever is spent first.
        rate: AdamW's, at its highest.
        batch: samples an iteration.
        checkpoint: file; made, and gone on from if it is of the same `key`.
        key: what is learnt from.
    """

    seconds: float
    iterations: int
    rate: float
    batch: int
    checkpoint: Path
    key: str


class Learner:
    """Teaches the heads of a network; its backbone stays as it is.

    What it comes to is the running average of the weights, `average`: so few samples are shown that single steps go
    astray, and the weights that it begins with are such an average themselves.

    Args:
        network: with a `backbone`; changed in place.
        lesson: gives the loss.
        draw: a sample, given the random numbers of one iteration.
        spell: how long, and where it is kept.
    """

    def __init__(
        self, network: nn.Module, lesson: Lesson, draw: Callable[[np.random.Generator], Sample], spell: Spell
    ) -> None:
        self.network, self._lesson, self._draw, self._spell = network, lesson, draw, spell
        network.get_submodule("backbone").requires_grad_(False)
        self._heads = [each for each in network.parameters() if each.requires_grad]
        self._optimiser = torch.optim.AdamW(self._heads, lr=spell.rate, weight_decay=_WEIGHT_DECAY)
        self.average = {name: value.clone() for name, value in network.state_dict().items()}
        self.iterations, self.seconds = 0, 0.0
        self._resume()

    @property
    def progress(self) -> float:
        """How much of the spell is done, 0..1."""
        shares = (
            spent / most if most > 0 else 1.0
            for spent, most in ((self.seconds, self._spell.seconds), (self.iterations, self._spell.iterations))
        )
        return min(1.0, max(shares))

    def run(self, tell: Callable[[float], None]) -> None:
        """Learn until the spell is over.

        Args:
            tell: is told the share of it that is done, 0..1, after every iteration; may raise to stop, and a later call
                goes on.

        Raises:
            OutputError: the checkpoint cannot be written.
        """
        saved_at = self.seconds
        self.network.train()
        try:
            with torch.random.fork_rng(devices=[]), torch.enable_grad():
                while self.progress < 1:
                    started = time.monotonic()
                    self._iterate()
                    self.seconds += time.monotonic() - started
                    tell(self.progress)
                    if self.seconds - saved_at > _CHECKPOINT_EVERY_S:
                        saved_at = self.seconds  # also where it fails: at once again it would fail again
                        self._save()
        finally:
            self.network.eval()
            if self.seconds > saved_at:
                self._save()

    def _iterate(self) -> None:
        progress = self.progress
        falling = max(0.0, (progress - (1 - _FALLS_OVER)) / _FALLS_OVER)
        factor = min(1.0, (self.iterations + 1) / _WARMUP) * (0.51 + 0.49 * float(np.cos(np.pi * falling)))
        for group in self._optimiser.param_groups:
            group["lr"] = self._spell.rate * factor
        torch.manual_seed(self.iterations)
        rng = np.random.default_rng(self.iterations)
        pictures, masks = zip(*(self._draw(rng) for _ in range(self._spell.batch)), strict=True)
        shown = torch.from_numpy(np.stack(pictures)).movedim(-1, -3).contiguous()
        loss, _ = self._lesson(self.network, shown, torch.from_numpy(np.stack(masks)), progress)
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if torch.isfinite(nn.utils.clip_grad_norm_(self._heads, _LARGEST_GRADIENT)):
            self._optimiser.step()
        self.iterations += 1
        self._follow()

    def _follow(self) -> None:
        decay = min(_AVERAGE, self.iterations / (self.iterations + 10))
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                self.average[name].lerp_(value, 1 - decay)

    def _save(self) -> None:
        state = {
            "key": self._spell.key,
            "network": self.network.state_dict(),
            "average": self.average,
            "optimiser": self._optimiser.state_dict(),
            "iterations": self.iterations,
            "seconds": self.seconds,
        }
        # Into memory first: where the disk says no, torch's own writer says nothing that people understand.
        content = io.BytesIO()
        torch.save(state, content)
        write_whole(self._spell.checkpoint, content.getbuffer())

    def _resume(self) -> None:
        path = self._spell.checkpoint
        if not path.is_file():
            return
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, LookupError, ValueError, pickle.UnpicklingError):
            return  # damaged: what it held is learnt again
        if state.get("key") != self._spell.key or "average" not in state:  # of an earlier release
            return
        self.network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.average = state["average"]
        self.iterations, self.seconds = state["iterations"], state["seconds"]


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write beside a file and move it there, so that neither a kill nor a full disk in between loses it.

    Raises:
        OutputError: the disk says no.
    """
    partial = path.with_suffix(".part")
    with writing(path):
        try:
            partial.write_bytes(content)
            partial.replace(path)
        except OSError:
            partial.unlink(missing_ok=True)  # what is half there would keep the disk full
            raise


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Write a file in this context: what the disk says against it becomes an OutputError."""
    try:
        yield
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        why = "the disk is full" if is_full else error.strerror or error
        first = "Make room on it" if is_full else "See that the folder can be written to"
        then = "goes on from its last checkpoint" if _has_checkpoint(path.parent) else "begins anew"
        raise OutputError(f"{path} cannot be written: {why}.", f"{first}, and start it again: it {then}.") from error


def _has_checkpoint(folder: Path) -> bool:
    return any(folder.glob(f"*{CHECKPOINT}"))
