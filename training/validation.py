"""Judge networks in training on real clips, through the package's own inference, so that those decide what is kept.

`python -m training.validation --tracker RUN/best.pt --segmenter RUN/best.pt FOLDER...` prints the tables of
`benchmarks.quality` for checkpoints, without installing them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from benchmarks.clips import find_clips
from benchmarks.quality import TrackingRow, click_rows, mean_rows, print_clicks, print_tracking, track, tracking_rows
from tam_backend import TrackAnything
from tam_backend.models.protocols import Models
from tam_backend.models.segmenters.compact import CompactSegmenter
from tam_backend.models.segmenters.compact_network import ClickNetwork
from tam_backend.models.xmem.compact import CompactNetwork
from tam_backend.models.xmem.compact_tracker import CompactTracker
from tam_backend.models.zoo import EMBEDDED_DIR

SEGMENTER_FILE, TRACKER_FILE = (
    EMBEDDED_DIR / "compact_segmenter.safetensors",
    EMBEDDED_DIR / "compact_tracker.safetensors",
)
_CPU = torch.device("cpu")


def assemble(segmenter: ClickNetwork, tracker: CompactNetwork, side: int = 480) -> TrackAnything:
    """Return the public API over two networks."""
    return TrackAnything(
        Models(
            profile="compact",
            version="training",
            device=_CPU,
            segmenter=CompactSegmenter(segmenter, "training", _CPU),
            new_tracker=lambda: CompactTracker(tracker, _CPU),
            tracker_side=side,
        )
    )


def load_network(network: nn.Module, path: Path) -> None:
    """Load a checkpoint of training (its running average) or a safetensors file."""
    safe = path.suffix == ".safetensors"
    state = load_file(path) if safe else torch.load(path, weights_only=True)["average"]
    network.load_state_dict({name: value.float() for name, value in state.items()})
    network.to(memory_format=torch.channels_last).eval()


def tracker_validation(folders: str) -> Callable[[nn.Module], Mapping[str, float]]:
    """Return a function from a CompactNetwork to J&F per clip, and their mean as the score.

    Args:
        folders: of clips, with ":" between them.
    """
    clips = find_clips([Path(folder) for folder in folders.split(":")])

    def validate(network: nn.Module) -> Mapping[str, float]:
        assert isinstance(network, CompactNetwork)
        tam = assemble(ClickNetwork(), network)
        figures: dict[str, float] = {}
        for clip in clips:
            rows = list(tracking_rows(clip, "mask", track(tam, clip)))
            if rows:
                figures[clip.name] = mean_rows(rows)[0].mean
        return {**figures, "score": float(np.mean(list(figures.values())))}

    return validate


def segmenter_validation(folders: str) -> Callable[[nn.Module], Mapping[str, float]]:
    """Return a function from a ClickNetwork to mean IoU after 1, 3 and 5 clicks; the score weighs them alike.

    Args:
        folders: of clips, with ":" between them.
    """
    clips = find_clips([Path(folder) for folder in folders.split(":")])

    def validate(network: nn.Module) -> Mapping[str, float]:
        assert isinstance(network, ClickNetwork)
        tam = assemble(network, CompactNetwork())
        after = np.mean([click_rows(tam, clip).after for clip in clips], 0)
        return {f"clicks{n}": float(v) for n, v in zip((1, 3, 5), after, strict=True)} | {"score": float(after.mean())}

    return validate


def main() -> None:
    """Print both tables for given checkpoints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--tracker", type=Path, default=TRACKER_FILE)
    parser.add_argument("--segmenter", type=Path, default=SEGMENTER_FILE)
    parser.add_argument("--only", choices=("tracking", "clicks"))
    parser.add_argument("--clicks", type=int, default=0, help="start tracking from so many clicks instead of a mask")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    segmenter, tracker = ClickNetwork(), CompactNetwork()
    load_network(segmenter, options.segmenter)
    load_network(tracker, options.tracker)
    tam, clips = assemble(segmenter, tracker), find_clips(options.folders)
    if options.only != "clicks":
        rows: list[TrackingRow] = []
        for clip in clips:
            rows += tracking_rows(clip, "tracker", track(tam, clip, options.clicks))
        print_tracking(rows)
    if options.only != "tracking":
        print_clicks([click_rows(tam, clip) for clip in clips])


if __name__ == "__main__":
    main()
