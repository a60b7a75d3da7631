"""Frames a second of our trackers and of others, side by side in one run: `python -m benchmarks.peers [--objects 3]`.

Ours: the compact tracker, XMem and Cutie as their profiles run them, and XMem in float32. Others, by their packages'
own inference in float32: XMem the plain way (xmem_reference.py), Cutie base and small (`rf-cutie`), SAM 2.1 tiny on
video (`sam2`, which takes frames as 1024 x 1024 whatever their size). One whose package is not installed is named with
the command that brings it.

Every frame goes through all of them before the next one does; medians are told. On a busy machine the milliseconds of
CPU with `--threads 1` tell more than those on the clock. All but the compact tracker have random weights: these
decide what masks look like, not how long they take. Memories are full first, as they are later in a video: XMem's and
Cutie's by true masks on the first frames, the others' by tracking from one.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import Tensor

from benchmarks.lively_weights import lively_network
from benchmarks.machine import describe_machine
from benchmarks.speed import Scene, Steps, scene
from benchmarks.xmem_reference import ReferenceTracker
from tam_backend.models import zoo
from tam_backend.models.cutie_tracker.cutie_network import CutieNetwork
from tam_backend.models.cutie_tracker.cutie_quick import quicken
from tam_backend.models.cutie_tracker.cutie_tracker import CutieTracker
from tam_backend.models.cutie_tracker.package_network import CutieSize
from tam_backend.models.xmem import XMemConfig, XMemTracker, load_xmem
from tam_backend.models.xmem.loading import Precision
from tam_backend.models.xmem.xmem_config import MemoryConfig

# XMem and Cutie consolidate when they have memorised so many frames: from then on their memory is full.
_MASKS_UNTIL_FULL = 10
# Frames until the compact tracker's working memory is full, and until SAM 2 has as many as it looks back at.
_COMPACT_UNTIL_FULL, _SAM2_UNTIL_FULL = 24, 8
_SAM2_CONFIG = "configs/sam2.1/sam2.1_hiera_t.yaml"
_JPEG_QUALITY = 95


@dataclass(frozen=True)
class Peer:
    """A row of the table.

    Args:
        name: for people.
        make: makes a tracker for a clip whose frames will be given to it one after the other.
        until_full: frames that it is given before the timed ones, to fill its memory.
        masks: how many of these, from the first on, come with true masks.
        package: what has to be installed: its module; "" if nothing has.
        extra: our extra that brings it.
    """

    name: str
    make: Callable[[Sequence[Scene]], Steps]
    until_full: int
    masks: int
    package: str = ""
    extra: str = ""

    @property
    def is_installed(self) -> bool:
        """Whether it can be made here."""
        return not self.package or importlib.util.find_spec(self.package) is not None


@dataclass(eq=False)
class Lane:
    """A peer's tracker and what its timed frames took: seconds on the clock, and of all cores."""

    peer: Peer
    tracker: Steps
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)


class CutieCore:
    """The package's own inference over a network of a published size, with its settings for long videos."""

    def __init__(self, network: Any) -> None:
        import cutie.config  # noqa: PLC0415 - an extra
        from cutie.inference.inference_core import InferenceCore  # noqa: PLC0415
        from omegaconf import OmegaConf  # noqa: PLC0415

        settings = OmegaConf.load(Path(cutie.config.__file__).with_name("eval_config.yaml"))
        long_videos = {"use_long_term": True, "mem_every": 5}
        self._core = InferenceCore(network, OmegaConf.merge(settings, network.cfg, long_videos))

    @torch.inference_mode()
    def step(self, image: Tensor, mask: Tensor | None = None, object_ids: list[int] | None = None) -> Tensor:
        """Return (1 + objects, H, W) probabilities."""
        probabilities: Tensor = self._core.step(image, mask, object_ids)
        return probabilities


class Sam2Video:
    """The package's own video predictor, asked for one frame at a time. It has read all frames before the first."""

    def __init__(self, clip: Sequence[Scene]) -> None:
        # The package sets up Hydra for all of its process; without CUDA its postprocessing has nothing to run on.
        from sam2.build_sam import build_sam2_video_predictor  # noqa: PLC0415 - an extra

        torch.manual_seed(0)
        self._predictor = build_sam2_video_predictor(_SAM2_CONFIG, device="cpu", apply_postprocessing=False)
        with tempfile.TemporaryDirectory() as folder:
            for index, shown in enumerate(clip):
                pixels = (shown.image.permute(1, 2, 0).numpy()[..., ::-1] * 255).round().astype("uint8")
                cv2.imwrite(str(Path(folder) / f"{index:05}.jpg"), pixels, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
            self._state = self._predictor.init_state(folder)
        self._answers: Iterator[tuple[int, list[int], Tensor]] | None = None

    @torch.inference_mode()
    def step(self, image: Tensor, mask: Tensor | None = None, object_ids: list[int] | None = None) -> Tensor:  # noqa: ARG002 - it has its own
        """Return (1 + objects, H, W): its masks' logits and background between them."""
        if self._answers is None:
            assert mask is not None and object_ids is not None
            for object_id in object_ids:
                self._predictor.add_new_mask(self._state, 0, object_id, mask == object_id)
            self._answers = iter(self._predictor.propagate_in_video(self._state))
        _, _, logits = next(self._answers)  # objects x 1 x H x W
        return torch.cat([torch.zeros_like(logits[:1, 0]), logits[:, 0]])


def compact(_: Sequence[Scene]) -> Steps:
    """Make the compact profile's tracker."""
    return zoo.load("compact", "cpu").new_tracker()


def xmem(precision: Precision) -> Callable[[Sequence[Scene]], Steps]:
    """Return what makes our XMem in a precision."""

    def make(_: Sequence[Scene]) -> Steps:
        with tempfile.TemporaryDirectory() as folder:
            weights = Path(folder) / "XMem.pth"
            torch.save(lively_network().state_dict(), weights)
            network = load_xmem(weights, "cpu", precision)
        return XMemTracker(network, XMemConfig(permanent_memory=False))

    return make


def xmem_reference(_: Sequence[Scene]) -> Steps:
    """Make XMem the plain way."""
    return ReferenceTracker(lively_network().state_dict())


def packages_cutie(size: CutieSize) -> Callable[[Sequence[Scene]], Steps]:
    """Return what makes the package's Cutie."""

    def make(_: Sequence[Scene]) -> Steps:
        from benchmarks.lively_cutie import lively_cutie  # noqa: PLC0415 - an extra

        return CutieCore(lively_cutie(size))

    return make


def our_cutie(size: CutieSize) -> Callable[[Sequence[Scene]], Steps]:
    """Return what makes our Cutie."""

    def make(_: Sequence[Scene]) -> Steps:
        from benchmarks.lively_cutie import lively_cutie  # noqa: PLC0415 - an extra

        network = CutieNetwork(quicken(lively_cutie(size), torch.device("cpu")))
        return CutieTracker(network, MemoryConfig(permanent_memory=False))

    return make


_LIKE_XMEM = partial(Peer, until_full=_MASKS_UNTIL_FULL + 1, masks=_MASKS_UNTIL_FULL)
_LIKE_CUTIE = partial(_LIKE_XMEM, package="cutie", extra="cutie")
PEERS = (
    Peer("compact (ours)", compact, _COMPACT_UNTIL_FULL, masks=1),
    _LIKE_XMEM("XMem (ours)", xmem("fast")),
    _LIKE_XMEM("XMem (ours), float32", xmem("float32")),
    _LIKE_XMEM("XMem, the plain way", xmem_reference),
    _LIKE_CUTIE("Cutie base (ours)", our_cutie("base")),
    _LIKE_CUTIE("Cutie base", packages_cutie("base")),
    _LIKE_CUTIE("Cutie small (ours)", our_cutie("small")),
    _LIKE_CUTIE("Cutie small", packages_cutie("small")),
    Peer("SAM 2.1 tiny, video", Sam2Video, _SAM2_UNTIL_FULL, masks=1, package="sam2", extra="sam2"),
)


def race(peers: Sequence[Peer], objects: int, side: int, frames: int) -> list[Lane]:
    """Lead all installed peers over the same frames, each frame by all before the next one.

    One whose memory is full sooner begins later.

    Args:
        peers: rows of the table.
        objects: in the scene.
        side: the shorter side, pixels.
        frames: that are timed.
    """
    installed = [peer for peer in peers if peer.is_installed]
    untimed = max((peer.until_full for peer in installed), default=0)
    clip = [scene(index, objects, side) for index in range(untimed + frames)]
    lanes = [Lane(peer, peer.make(clip[untimed - peer.until_full :])) for peer in installed]
    ids = list(range(1, objects + 1))
    for index, shown in enumerate(clip):
        for lane in lanes:
            own_index = index - (untimed - lane.peer.until_full)
            if own_index < 0:
                continue
            given = (shown.labels, ids) if own_index < lane.peer.masks else (None, None)
            start, cpu_start = time.perf_counter(), time.process_time()
            lane.tracker.step(shown.image, *given)
            taken, cpu_taken = time.perf_counter() - start, time.process_time() - cpu_start
            if index >= untimed:
                lane.seconds.append(taken)
                lane.cpu_seconds.append(cpu_taken)
    return lanes


def table(peers: Sequence[Peer], lanes: Sequence[Lane]) -> str:
    """Print the medians of each, and how to get those that are not installed."""
    lines = [f"{'':<22}{'frames/s':>10}{'ms a frame':>12}{'ms of CPU':>11}"]
    measured = {lane.peer.name: lane for lane in lanes}
    for peer in peers:
        if peer.name in measured:
            lane = measured[peer.name]
            median, cpu_median = statistics.median(lane.seconds), statistics.median(lane.cpu_seconds)
            lines.append(f"{peer.name:<22}{1 / median:>10.2f}{median * 1e3:>12.0f}{cpu_median * 1e3:>11.0f}")
        else:
            lines.append(f"{peer.name:<22}  not installed: pip install 'tam-backend[{peer.extra}]'")
    return "\n".join(lines)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=1)
    parser.add_argument("--side", type=int, default=480, help="shorter side, pixels")
    parser.add_argument("--frames", type=int, default=5, help="timed ones")
    parser.add_argument("--threads", type=int, default=2, help="1 tells most on a machine that others use too")
    parser.add_argument("--only", nargs="*", default=[], help="names of rows, or their beginnings; default: all")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    peers = [peer for peer in PEERS if peer.name.startswith(tuple(arguments.only) or "")]
    size = f"{arguments.side}x{arguments.side * 16 // 9}"
    settings = f"{arguments.objects} object(s), {size}, {arguments.frames} frames, {arguments.threads} thread(s)"
    print(f"{settings}; {describe_machine()}, torch {torch.__version__}", flush=True)
    lanes = race(peers, arguments.objects, arguments.side, arguments.frames)
    print(table(peers, lanes))
    print(f"afterwards: {describe_machine()}")


if __name__ == "__main__":
    main()
