"""The two networks' courses: what each learns by, on what, and how it is judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from tam_backend.adaptation.blending import blend
from tam_backend.adaptation.click_lesson import ClickLesson
from tam_backend.adaptation.judging import FrameScores, Stop, clicked, clicked_on, tracked, tracked_on
from tam_backend.adaptation.labeled import LabeledVideo
from tam_backend.adaptation.learning import ClickRules, Learner, Lesson, Spell, TrackRules
from tam_backend.adaptation.samples import Sample, Samples
from tam_backend.adaptation.track_lesson import TrackLesson
from tam_backend.models.compact_tracker.compact_network import CompactNetwork
from tam_backend.models.segmenters.click_network import ClickNetwork
from tam_backend.models.weights import load_strictly
from tam_backend.types import BoolMask

SIDE = 256
"""Of samples, pixels."""
PRACTISED_SHARE = 0.25
"""Of samples, from the packaged clips."""
SHARES = (1.0, 0.5)
"""How far to go from the old weights to the learnt ones: each is judged."""

_LENGTH = 6


@dataclass(frozen=True)
class Course:
    """What differs between the networks.

    Args:
        what: how people call the network.
        file: of its promoted weights.
        network: makes one.
        lesson: makes what it learns by.
        rate: AdamW's, at its highest.
        batch: samples an iteration.
        draw: a sample.
        score: judges it on a video.
        answer: the masks of some frames that it is judged by.
    """

    what: str
    file: str
    network: Callable[[], nn.Module]
    lesson: Callable[[], Lesson]
    rate: float
    batch: int
    draw: Callable[[Samples, np.random.Generator], Sample]
    score: Callable[[nn.Module, LabeledVideo, Stop], FrameScores]
    answer: Callable[[nn.Module, LabeledVideo, Sequence[int], Stop], Mapping[int, Mapping[int, BoolMask]]]

    def loaded(self, weights: Path) -> nn.Module:
        """Return the network with weights of a file, ready to answer. Raises WeightsError."""
        network = self.network()
        load_strictly(network, weights)
        return network.to(memory_format=torch.channels_last).eval()

    def learnt(
        self, base: Path, project: Samples, practised: Samples, spell: Spell, tell: Callable[[float], None]
    ) -> Learner:
        """Teach the network that `base` holds, or go on with it.

        Args:
            base: safetensors.
            project: what is to be learnt.
            practised: what is not to be forgotten.
            spell: how long.
            tell: is told the share of it that is done; may raise.

        Raises:
            WeightsError: `base` is missing, or of another network.
            OutputError: the checkpoint cannot be written.
        """

        def draw(rng: np.random.Generator) -> Sample:
            return self.draw(practised if rng.random() < PRACTISED_SHARE else project, rng)

        learner = Learner(self.loaded(base), self.lesson(), draw, spell)
        learner.run(tell)
        return learner


def part_of_the_way(base: nn.Module, learnt: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Return weights between a network's and those learnt, in half precision as they are kept."""
    between = blend(base.state_dict(), learnt, share)
    return {name: value.half().contiguous() for name, value in between.items()}


def _clickable(network: nn.Module) -> ClickNetwork:
    if not isinstance(network, ClickNetwork):
        raise TypeError(f"{type(network).__name__} cannot be clicked.")
    return network


def _tracking(network: nn.Module) -> CompactNetwork:
    if not isinstance(network, CompactNetwork):
        raise TypeError(f"{type(network).__name__} cannot track.")
    return network


SEGMENTER = Course(
    what="the segmenter",
    file="compact_segmenter.safetensors",
    network=ClickNetwork,
    lesson=lambda: ClickLesson(ClickRules()),
    rate=3e-4,
    batch=4,
    draw=lambda samples, rng: samples.still(rng),
    score=lambda network, labeled, stop: clicked(_clickable(network), labeled, stop),
    answer=lambda network, labeled, frames, stop: clicked_on(_clickable(network), labeled, frames, stop),
)
TRACKER = Course(
    what="the tracker",
    file="compact_tracker.safetensors",
    network=CompactNetwork,
    lesson=lambda: TrackLesson(TrackRules()),
    rate=1e-4,
    batch=2,
    draw=lambda samples, rng: samples.film(rng, _LENGTH),
    score=lambda network, labeled, stop: tracked(_tracking(network), labeled, stop),
    answer=lambda network, labeled, frames, stop: tracked_on(_tracking(network), labeled, frames, stop),
)
