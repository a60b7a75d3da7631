"""What adapting to a project brings on a clip that was not learnt from: `python -m benchmarks.adaptation OUT.json ...`.

Every domain is a folder of clips, or one clip cut into as many parts as `DOMAIN=FOLDER:PARTS` says; its last clip is
never learnt from. Measured on it, before and after 1, 2 and 4 of the others: J&F from the first mask and from one
click, and the clicks that it takes to an IoU of 0.85. Two and more clips go through `adapt`, with its gate; one cannot
be split, so that the networks learn from it directly. What was learnt is measured even where it was refused: that tells
whether the gate was right. Written after every step, so that a run that is cut off loses nothing; one that is started
again goes on.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.clips import AnnotatedClip, find_clips
from benchmarks.quality import click_until, track
from tam_backend import TrackAnything, open_video
from tam_backend.adaptation.adapt import adapt
from tam_backend.adaptation.courses import SEGMENTER, SIDE, TRACKER, Course
from tam_backend.adaptation.general import PRACTISED, general_clips
from tam_backend.adaptation.kept_video import keep
from tam_backend.adaptation.labeled import IdMask, LabeledVideo
from tam_backend.adaptation.learning import Spell
from tam_backend.adaptation.outcome import AdaptationLimits, CompactWeights
from tam_backend.adaptation.samples import Samples
from tam_backend.models.compact_tracker.compact_network import CompactNetwork
from tam_backend.models.kind_registry import EMBEDDED_DIR
from tam_backend.models.segmenters.click_network import ClickNetwork
from training.validation import assemble, load_both

BASE = CompactWeights(EMBEDDED_DIR / SEGMENTER.file, EMBEDDED_DIR / TRACKER.file)
_GOOD_IOU, _MOST_CLICKS, _CLICKED_FRAMES = 0.85, 10, 4
_MEMORY_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Measured:
    """Figures on the unseen clip.

    Args:
        mask, click: J&F in percent, tracked from the first mask and from one click.
        clicks: mean number to an IoU of 0.85; one that is never reached counts 10.
        first_click: mean IoU after one click, percent.
    """

    mask: float
    click: float
    clicks: float
    first_click: float


class Masks(Mapping[int, IdMask]):
    """A clip's masks, read when asked for."""

    def __init__(self, clip: AnnotatedClip) -> None:
        self._clip = clip

    def __getitem__(self, at: int) -> IdMask:
        if at not in self._clip.masks:
            raise KeyError(at)
        return self._clip.ids(at)

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self._clip.masks))

    def __len__(self) -> int:
        return len(self._clip.masks)


def cut(clip: AnnotatedClip, parts: int) -> list[AnnotatedClip]:
    """Cut a clip into parts of equal length, one after the other."""
    bounds = np.linspace(0, len(clip), parts + 1).round().astype(int).tolist()
    return [
        AnnotatedClip(
            f"{clip.name}-{number}",
            clip.frames[start:stop],
            {at - start: file for at, file in clip.masks.items() if start <= at < stop},
        )
        for number, (start, stop) in enumerate(itertools.pairwise(bounds), start=1)
    ]


def domain(text: str) -> tuple[str, list[AnnotatedClip]]:
    """Read NAME=FOLDER or NAME=FOLDER:PARTS."""
    name, _, rest = text.partition("=")
    folder, _, parts = rest.partition(":")
    clips = find_clips([Path(folder)])
    return name, cut(clips[0], int(parts)) if parts else clips


def measure(tam: TrackAnything, clip: AnnotatedClip) -> Measured:
    """Measure both networks on a clip."""
    means = []
    for start in (0, 1):
        judged = [100 * each.mean for scores in track(tam, clip, start).values() for each in scores]
        means.append(float(np.mean(judged)) if judged else float("nan"))
    shown = [at for at, ids in clip.ids_at.items() if ids]
    chosen = sorted({shown[round(at)] for at in np.linspace(0, len(shown) - 1, min(_CLICKED_FRAMES, len(shown)))})
    needed, first = [], []
    with open_video(list(clip.frames)) as video:
        for at in chosen:
            for object_id in sorted(clip.ids_at[at]):
                with tam.session(video) as session:
                    ious = click_until(session, object_id, at, clip.ids(at) == object_id, _MOST_CLICKS)
                needed.append(next((n for n, iou in enumerate(ious, 1) if iou >= _GOOD_IOU), _MOST_CLICKS))
                first.append(100 * ious[0])
    return Measured(means[0], means[1], float(np.mean(needed)), float(np.mean(first)))


def labeled(clip: AnnotatedClip) -> LabeledVideo:
    """Return a clip as what adaptation learns from."""
    return LabeledVideo(clip.name, open_video(list(clip.frames)), Masks(clip))


def learnt_directly(course: Course, weights: Path, clip: AnnotatedClip, seconds: float, folder: Path) -> nn.Module:
    """Learn from one clip alone: nothing can be held out, so that nothing is judged."""
    project = Samples([keep(labeled(clip), _MEMORY_BYTES, [])], SIDE)
    practised = Samples([keep(each, _MEMORY_BYTES, []) for each in general_clips(PRACTISED)], SIDE)
    spell = Spell(seconds, course.batch, folder / f"{course.file}.learning", clip.name)
    return course.learnt(weights, project, practised, spell, lambda _: None).network


def networks_after(
    clips: Sequence[AnnotatedClip], seconds: float, folder: Path
) -> tuple[nn.Module, nn.Module, dict[str, object]]:
    """Return both networks as they were learnt, promoted or not, and what `adapt` said."""
    if len(clips) == 1:
        spent = time.monotonic()
        segmenter, tracker = (
            learnt_directly(course, weights, clips[0], 0.4 * seconds, folder)
            for course, weights in ((SEGMENTER, BASE.segmenter), (TRACKER, BASE.tracker))
        )
        return segmenter, tracker, {"seconds": time.monotonic() - spent}
    outcome = adapt([labeled(clip) for clip in clips], BASE, AdaptationLimits(seconds, _MEMORY_BYTES, 1), folder)
    networks = []
    for course, weights, promoted in (
        (SEGMENTER, BASE.segmenter, outcome.segmenter_weights),
        (TRACKER, BASE.tracker, outcome.tracker_weights),
    ):
        network = course.loaded(promoted or weights)
        if promoted is None:  # what was refused, to see whether that was right
            checkpoint = torch.load(folder / f"{course.file}.learning", weights_only=True)
            network.load_state_dict(checkpoint["network"])
        networks.append(network)
    said = asdict(replace(outcome, segmenter_weights=None, tracker_weights=None))
    return networks[0], networks[1], said


def run(domains: Mapping[str, Sequence[AnnotatedClip]], counts: Sequence[int], seconds: float, out: Path) -> None:
    """Measure what is not in the file yet, all domains with the first count, then with the next one."""
    rows: dict[str, dict[str, object]] = json.loads(out.read_text()) if out.exists() else {}

    def keep_row(name: str, row: dict[str, object]) -> None:
        rows[name] = {**row, "load": os.getloadavg()[0]}
        out.write_text(json.dumps(rows, indent=1) + "\n")
        print(name, row, flush=True)

    for count in counts:
        for name, clips in domains.items():
            unseen, others = clips[-1], clips[:-1][-count:]
            if f"{name} 0" not in rows:
                before = load_both(BASE.segmenter, BASE.tracker)
                keep_row(f"{name} 0", {"unseen": unseen.name, "frames": len(unseen), **asdict(measure(before, unseen))})
            if len(others) < count or f"{name} {count}" in rows:
                continue
            with tempfile.TemporaryDirectory() as folder:
                segmenter, tracker, said = networks_after(others, seconds, Path(folder))
            if not isinstance(segmenter, ClickNetwork) or not isinstance(tracker, CompactNetwork):
                raise TypeError("These are not the compact profile's networks.")
            after = measure(assemble(segmenter, tracker), unseen)
            keep_row(f"{name} {count}", {**asdict(after), "said": said})


def print_table(rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Print every domain before and after, and how often the gate was right."""
    heads = f"{'first mask':>16}{'one click':>16}{'clicks to 0.85':>16}"
    print(f"{'domain':<14}{'clips':>5}{heads}  promoted (segmenter, tracker)")
    gains: list[tuple[float, float]] = []
    rights: list[bool] = []
    for key, row in sorted(rows.items()):
        name, _, count = key.rpartition(" ")
        if count == "0":
            continue
        before = rows[f"{name} 0"]
        gains.append((row["mask"] - before["mask"], row["click"] - before["click"]))
        said = row["said"]
        promoted = [said[each]["promote"] for each in ("segmenter", "tracker")] if "promote" in said else []
        better = [row["first_click"] > before["first_click"], row["mask"] > before["mask"]]
        rights += [one == other for one, other in zip(promoted, better, strict=False)]
        figures = "".join(f"{before[each]:>9.1f}{row[each]:>7.1f}" for each in ("mask", "click", "clicks"))
        told = ", ".join("yes" if each else "no" for each in promoted) or "cannot be judged"
        print(f"{name:<14}{count:>5}{figures}  {told}")
    if gains:
        mask, click = np.mean(gains, 0)
        print(f"mean gain of what was learnt, promoted or not: {mask:+.1f} first mask, {click:+.1f} one click")
    if rights:
        print(f"the gate was right about {sum(rights)} of {len(rights)} networks")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="JSON; gone on with if it is there")
    parser.add_argument("domains", nargs="*", help="NAME=FOLDER of clips, or NAME=CLIP:PARTS")
    parser.add_argument("--counts", type=int, nargs="+", default=[2, 1, 4], help="of clips that are learnt from")
    parser.add_argument("--seconds", type=float, default=120.0, help="for each adaptation")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    run(dict(domain(each) for each in options.domains), options.counts, options.seconds, options.out)
    print_table(json.loads(options.out.read_text()))


if __name__ == "__main__":
    main()
