"""Compare weights on the way from the embedded ones to a checkpoint, clip by clip, before one of them is exported.

`python -m training.blends FOLDER... --tracker RUN/checkpoint.pt` or `--segmenter RUN/checkpoint.pt`: one column for
each share of the way (Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022). Every share of a tracker
costs a pass over all clips: leave some out with `--shares` if that takes too long.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.clips import AnnotatedClip, find_clips
from benchmarks.quality import click_rows, track
from benchmarks.tables import CLICKS, click_means, mean_over_masks, mean_over_objects, tracking_rows
from tam_backend.adaptation.blending import blend
from tam_backend.models.compact_tracker.compact_network import CompactNetwork
from tam_backend.models.segmenters.click_network import ClickNetwork
from training.export import weights_of
from training.validation import SEGMENTER_FILE, TRACKER_FILE, assemble, load_network

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


def tracking_figures(weights: Mapping[str, Tensor], clips: Sequence[AnnotatedClip], clicks: int) -> dict[str, float]:
    """Return "clip object" -> J&F in percent, and the means.

    Args:
        weights: of the tracker.
        clips: with masks.
        clicks: how many of the embedded segmenter tracking starts from; 0 = from masks.
    """
    segmenter, tracker = ClickNetwork(), CompactNetwork()
    load_network(segmenter, SEGMENTER_FILE)
    _fill(tracker, weights)
    tam = assemble(segmenter, tracker)
    rows = [row for clip in clips for row in tracking_rows(clip.name, "", track(tam, clip, clicks))]
    figures = {f"{row.clip} {row.object_id}": row.mean for row in rows}
    means = {"mean over objects": mean_over_objects(rows).mean, "mean over masks": mean_over_masks(rows).mean}
    return figures | means if rows else figures


def click_figures(weights: Mapping[str, Tensor], clips: Sequence[AnnotatedClip]) -> dict[str, float]:
    """Return "clip, n" -> mean IoU in percent after n clicks."""
    segmenter = ClickNetwork()
    _fill(segmenter, weights)
    tam = assemble(segmenter, CompactNetwork())
    rows = [click_rows(tam, clip) for clip in clips]
    figures = {f"{row.clip}, {n}": row.after[i] for row in rows for i, n in enumerate(CLICKS)}
    return figures | {f"mean, {n}": each.mean for n, each in zip(CLICKS, click_means(rows), strict=True)}


def print_table(columns: Mapping[float, Mapping[str, float]]) -> None:
    """Print one row per name and one column per share."""
    print(f"{'share of the way':<24}" + "".join(f"{share:>8.2f}" for share in columns))
    for name in next(iter(columns.values())):
        print(f"{name:<24}" + "".join(f"{column[name]:>8.1f}" for column in columns.values()))


def _fill(network: ClickNetwork | CompactNetwork, weights: Mapping[str, Tensor]) -> None:
    network.load_state_dict(weights)
    network.to(memory_format=torch.channels_last).eval()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--tracker", type=Path, help="a checkpoint of training.tracker, or .safetensors")
    which.add_argument("--segmenter", type=Path, help="a checkpoint of training.segmenter, or .safetensors")
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES, help="0 = embedded, 1 = checkpoint")
    parser.add_argument("--clicks", type=int, default=0, help="start tracking from so many clicks instead of a mask")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clips = find_clips(options.folders)
    start = weights_of(TRACKER_FILE if options.tracker else SEGMENTER_FILE)
    end = weights_of(options.tracker or options.segmenter)
    columns: dict[float, Mapping[str, float]] = {}
    for share in options.shares:
        weights = blend(start, end, share)
        if options.tracker:
            columns[share] = tracking_figures(weights, clips, options.clicks)
        else:
            columns[share] = click_figures(weights, clips)
    print_table(columns)


if __name__ == "__main__":
    main()
