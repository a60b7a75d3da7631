"""Judge networks in training on real clips, through the package's own inference, so that those decide what is kept.

`python -m training.validation FOLDER... --tracker RUN/best.pt --segmenter RUN/best.pt` prints the tables of
`benchmarks.quality` for checkpoints, without installing them. With `--against-tracker OLD`, `--against-segmenter OLD`
or both it measures those too, and prints both side by side.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.clips import AnnotatedClip, find_clips
from benchmarks.quality import click_rows, track
from benchmarks.tables import (
    CLICKS,
    ClickRow,
    TrackingRow,
    click_means,
    mean_over_objects,
    print_clicks,
    print_clicks_beside,
    print_tracking,
    print_tracking_beside,
    tracking_rows,
)
from tam_backend import TrackAnything
from tam_backend.models.compact_tracker.compact_network import CompactNetwork
from tam_backend.models.compact_tracker.compact_tracker import CompactTracker
from tam_backend.models.kind_registry import EMBEDDED_DIR
from tam_backend.models.protocols import Models
from tam_backend.models.segmenters.click_network import ClickNetwork
from tam_backend.models.segmenters.compact_segmenter import CompactSegmenter
from training.export import weights_of

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
    network.load_state_dict(weights_of(path))
    network.to(memory_format=torch.channels_last).eval()


def load_both(segmenter_file: Path, tracker_file: Path, side: int = 480) -> TrackAnything:
    """Return the public API over two files of weights."""
    segmenter, tracker = ClickNetwork(), CompactNetwork()
    load_network(segmenter, segmenter_file)
    load_network(tracker, tracker_file)
    return assemble(segmenter, tracker, side)


def tracker_validation(folders: str) -> Callable[[nn.Module], Mapping[str, float]]:
    """Return a function from a CompactNetwork to J&F per clip, and the mean over all objects as the score.

    Args:
        folders: of clips, with ":" between them.
    """
    clips = find_clips([Path(folder) for folder in folders.split(":")])

    def validate(network: nn.Module) -> Mapping[str, float]:
        assert isinstance(network, CompactNetwork)
        tam = assemble(ClickNetwork(), network)
        by_clip = {clip.name: list(tracking_rows(clip.name, "mask", track(tam, clip))) for clip in clips}
        figures = {name: mean_over_objects(rows).mean for name, rows in by_clip.items() if rows}
        return {**figures, "score": mean_over_objects([row for rows in by_clip.values() for row in rows]).mean}

    return validate


def segmenter_validation(folders: str) -> Callable[[nn.Module], Mapping[str, float]]:
    """Return a function from a ClickNetwork to the mean IoU of all masks after 1, 3 and 5 clicks, and their mean.

    Args:
        folders: of clips, with ":" between them.
    """
    clips = find_clips([Path(folder) for folder in folders.split(":")])

    def validate(network: nn.Module) -> Mapping[str, float]:
        assert isinstance(network, ClickNetwork)
        tam = assemble(network, CompactNetwork())
        after = [each.mean for each in click_means([click_rows(tam, clip) for clip in clips])]
        return {f"clicks{n}": v for n, v in zip(CLICKS, after, strict=True)} | {"score": float(np.mean(after))}

    return validate


@dataclass(frozen=True)
class Measured:
    """The figures of one pair of networks.

    Args:
        tracking: by the number of clicks that tracking starts from; 0 = a mask.
        clicks: one row a clip; none if not asked for.
    """

    tracking: dict[int, list[TrackingRow]] = field(default_factory=dict)
    clicks: list[ClickRow] = field(default_factory=list)

    def add(self, tam: TrackAnything, clip: AnnotatedClip, starts: Sequence[int], with_clicks: bool) -> None:
        """Measure one clip.

        Args:
            tam: the networks.
            clip: with masks.
            starts: the numbers of clicks that tracking starts from; may be empty.
            with_clicks: whether the click network is judged by itself.
        """
        for start in starts:
            name = f"{start} click{'s' if start > 1 else ''}" if start else "first mask given"
            self.tracking.setdefault(start, []).extend(tracking_rows(clip.name, name, track(tam, clip, start)))
        if with_clicks:
            self.clicks.append(click_rows(tam, clip))


def print_measured(these: Measured, against: Measured | None) -> None:
    """Print all tables, of one pair of networks or of two side by side."""
    for start, rows in these.tracking.items():
        if not rows:
            continue
        if against is None:
            print_tracking(rows)
        else:
            print_tracking_beside(rows, against.tracking[start])
        print()
    if these.clicks and against is None:
        print_clicks(these.clicks)
    elif these.clicks and against is not None:
        print_clicks_beside(these.clicks, against.clicks)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="clips, folders of clips, or DAVIS-like data sets")
    parser.add_argument("--tracker", type=Path, default=TRACKER_FILE)
    parser.add_argument("--segmenter", type=Path, default=SEGMENTER_FILE)
    parser.add_argument("--against-tracker", type=Path, help="measure it too; default: the same tracker")
    parser.add_argument("--against-segmenter", type=Path, help="measure it too; default: the same segmenter")
    parser.add_argument("--only", choices=("tracking", "clicks"))
    parser.add_argument(
        "--clicks", type=int, nargs="+", default=[0], help="how tracking starts: from so many clicks; 0: from a mask"
    )
    parser.add_argument("--size", type=int, default=480, help="shorter side of tracked frames")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    networks = [load_both(options.segmenter, options.tracker, options.size)]
    if options.against_tracker or options.against_segmenter:
        segmenter, tracker = options.against_segmenter, options.against_tracker
        networks.append(load_both(segmenter or options.segmenter, tracker or options.tracker, options.size))
    starts = [] if options.only == "clicks" else options.clicks
    measured = [Measured() for _ in networks]
    for clip in find_clips(options.folders):
        for tam, into in zip(networks, measured, strict=True):
            into.add(tam, clip, starts, with_clicks=options.only != "tracking")
        print(f"{clip.name} is measured.", file=sys.stderr, flush=True)
    print_measured(measured[0], measured[1] if len(measured) > 1 else None)


if __name__ == "__main__":
    main()
