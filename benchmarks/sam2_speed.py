"""SAM 2.1 the package's own way and ours, side by side: `python -m benchmarks.sam2_speed [--size sam2.1-small]`.

Official size, random weights, float32, the same frames and the same mask on the first. Each frame is tracked by one
and then by the others, on a memory that is full (7 frames and their pointers). Told are the median of the CPU's
milliseconds, which a busy machine changes least, and how far the masks agree. Then a frame is encoded, and a click on
it answered. The package reads its video before it begins; its extension in CUDA is left out.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from benchmarks.lively_sam2 import enliven
from benchmarks.speed import scene
from tam_backend.models.protocols import SegmenterPrompts
from tam_backend.models.sam2_network import network_config, network_of, normalised
from tam_backend.models.sam2_tracker.sam2_tracker import Sam2Tracker
from tam_backend.models.sam2_variants import SAM2_VARIANTS
from tam_backend.models.segmenters.sam2_segmenter import Sam2Segmenter
from tam_backend.types import Point

CPU = torch.device("cpu")
# Frames until the memory holds as many as are read of it.
_UNTIL_FULL = 7
# The package weighs pointers in another way in videos that are shorter.
_SHORTEST = 16
VIDEO_PREDICTOR = "sam2.sam2_video_predictor.SAM2VideoPredictor"

Answer = TypeVar("Answer")


@dataclass
class Timed:
    """Milliseconds of CPU of one way, call by call."""

    milliseconds: list[float] = field(default_factory=list)

    def call(self, work: Callable[[], Answer]) -> Answer:
        """Do some work and note how long it took."""
        start = time.process_time()
        answer = work()
        self.milliseconds.append(1000 * (time.process_time() - start))
        return answer

    @property
    def median(self) -> float:
        """The median."""
        return statistics.median(self.milliseconds)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SAM2_VARIANTS, default="sam2.1-tiny")
    parser.add_argument("--side", type=int, default=1024, help="of the square that is looked at; 1024 as published")
    parser.add_argument("--frames", type=int, default=5, help="timed frames")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config = {**network_config(SAM2_VARIANTS[options.size]), "image_size": options.side}
    predictor = enliven(network_of({**config, "_target_": VIDEO_PREDICTOR}))
    print(f"{options.size} at {options.side}, float32, {options.threads} thread(s)")
    print("milliseconds of CPU | the package | ours | ours as profiles run it, in bfloat16 where that is quick")
    print_tracking(predictor, options.frames)
    print_segmenting(predictor, options.frames)


def print_tracking(predictor: Any, frames: int) -> None:
    """Track the same clip both ways."""
    side = predictor.image_size
    shown = [scene(index, 1, side) for index in range(_UNTIL_FULL + frames)]
    images, mask = (
        [each.image[..., -side:] for each in shown],
        shown[0].labels[..., -side:],
    )  # square: nothing to resize
    packages = _packages_way(predictor, images, mask)
    exact, quick = Sam2Tracker(predictor, CPU, fast=False), Sam2Tracker(predictor, CPU)
    theirs, ours, served, agreements = Timed(), Timed(), Timed(), []
    for index, image in enumerate(images):
        logits = theirs.call(partial(next, packages))
        given = mask if index == 0 else None
        step = ours.call(partial(exact.track, image, given))
        served.call(partial(quick.track, image, given))
        agreements.append(float(((logits[0, 0] > 0) == (step.probabilities.argmax(0) == 1)).float().mean()))
        if index < _UNTIL_FULL:
            for way in (theirs, ours, served):
                way.milliseconds.clear()
    print(f"track a frame, 1 object | {theirs.median:.0f} | {ours.median:.0f} | {served.median:.0f}")
    print(f"  least share of pixels that agree on a predicted frame: {min(agreements[1:]):.5f}")


def print_segmenting(network: Any, frames: int) -> None:
    """Encode frames and answer a click both ways."""
    from sam2.sam2_image_predictor import SAM2ImagePredictor  # noqa: PLC0415 - an extra

    packages = SAM2ImagePredictor(network)
    packages._bb_feat_sizes = [(network.image_size // stride,) * 2 for stride in (4, 8, 16)]  # written down for 1024
    exact, quick = Sam2Segmenter(network, "exact", CPU, fast=False), Sam2Segmenter(network, "quick", CPU)
    prompts = SegmenterPrompts(points=(Point(400, 200),))
    timed = {name: (Timed(), Timed(), Timed()) for name in ("encode a frame", "answer a click")}
    generator = np.random.default_rng(0)
    for _ in range(frames):
        frame = generator.integers(0, 256, (480, 854, 3), dtype=np.uint8)
        theirs, ours, served = timed["encode a frame"]
        theirs.call(partial(packages.set_image, frame))
        embedding = ours.call(partial(exact.encode, frame))
        kept = served.call(partial(quick.encode, frame))
        theirs, ours, served = timed["answer a click"]
        theirs.call(partial(packages.predict, np.array([[400, 200]]), np.array([1])))
        ours.call(partial(exact.segment, embedding, prompts))
        served.call(partial(quick.segment, kept, prompts))
    for name, (theirs, ours, served) in timed.items():
        print(f"{name} | {theirs.median:.0f} | {ours.median:.0f} | {served.median:.0f}")


def _packages_way(predictor: Any, images: Sequence[Tensor], mask: Tensor) -> Iterator[Tensor]:
    """Yield the package's logits, (1, 1, S, S), of every frame of a video that is in memory."""
    side = predictor.image_size
    frames = [normalised(image[None])[0] for image in images]
    frames += frames[-1:] * (_SHORTEST - len(frames))
    with patch("sam2.sam2_video_predictor.load_video_frames", lambda **_: (frames, side, side)):
        state = predictor.init_state("in memory")
    predictor.add_new_mask(state, 0, 1, mask == 1)
    for _, _, logits in predictor.propagate_in_video(state):
        yield logits


if __name__ == "__main__":
    main()
