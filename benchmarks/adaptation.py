"""What adapting to a project brings on a clip that was not learnt from: `python -m benchmarks.adaptation OUT.json ...`.

Every domain is a folder of clips, or one clip cut into as many parts as `DOMAIN=FOLDER:PARTS` says, or several of
these (`DOMAIN=FOLDER:PARTS,FOLDER`); its last clip is never learnt from. Measured on it, before and after 1, 2 and 4 of
the others: J&F from the first mask and from one click, and the clicks that it takes to an IoU of 0.85. Two and more
clips go through `adapt`, with its gate; one cannot be split, so that the networks learn from it directly. Measured is
what users get, promoted networks or else the base's, and what was learnt even where it was refused: that tells whether
the gate was right. Written after every step, so that a run that is cut off loses nothing; one that is started again
goes on. With `--iterations` each network learns so many, however long that takes: a busy machine changes nothing.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.clips import AnnotatedClip, find_clips
from benchmarks.quality import click_until, track
from tam_backend import TrackAnything, open_video
from tam_backend.adaptation.adapt import adapt
from tam_backend.adaptation.courses import SEGMENTER, SIDE, TRACKER
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
MEMORY_BYTES = 256 * 2**20
AS_LONG_AS_IT_TAKES_S = 1e6


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


_COMPARED = ("mask", "click", "clicks")
_FIGURES = tuple(each.name for each in fields(Measured))


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
    """Read NAME=FOLDER or NAME=FOLDER:PARTS, or several of them with commas between."""
    name, _, rest = text.partition("=")
    clips: list[AnnotatedClip] = []
    for each in rest.split(","):
        folder, _, parts = each.partition(":")
        found = find_clips([Path(folder)])
        clips += cut(found[0], int(parts)) if parts else found
    return name, clips


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


Networks = tuple[nn.Module, nn.Module]
"""A segmenter and a tracker."""


@dataclass(frozen=True)
class Adapted:
    """What came of one adaptation.

    Args:
        learnt: as they were learnt, promoted or not.
        served: what users get, promoted or else the base's; None where nothing could be judged.
        promoted: of segmenter and tracker, whether it was.
        said: what `adapt` said.
    """

    learnt: Networks
    served: Networks | None
    promoted: tuple[bool, bool]
    said: Mapping[str, object]


def learnt_directly(clip: AnnotatedClip, limits: AdaptationLimits, folder: Path) -> Adapted:
    """Learn from one clip alone: nothing can be held out, so that nothing is judged."""
    spent = time.monotonic()
    project = Samples([keep(labeled(clip), limits.memory_bytes, [])], SIDE)
    practised = Samples([keep(each, limits.memory_bytes, []) for each in general_clips(PRACTISED)], SIDE)
    networks = []
    for course, weights in ((SEGMENTER, BASE.segmenter), (TRACKER, BASE.tracker)):
        checkpoint = folder / f"{course.file}.learning"
        spell = Spell(0.4 * limits.seconds, limits.iterations, course.rate, course.batch, checkpoint, clip.name)
        learner = course.learnt(weights, project, practised, spell, lambda _: None)
        learner.network.load_state_dict(learner.average)
        networks.append(learner.network)
    return Adapted((networks[0], networks[1]), None, (False, False), {"seconds": time.monotonic() - spent})


def adapted(videos: Sequence[LabeledVideo], limits: AdaptationLimits, folder: Path) -> Adapted:
    """Adapt to two videos and more."""
    outcome = adapt(videos, BASE, limits, folder)
    served, learnt = [], []
    for course, weights, better in (
        (SEGMENTER, BASE.segmenter, outcome.segmenter_weights),
        (TRACKER, BASE.tracker, outcome.tracker_weights),
    ):
        served.append(course.loaded(better or weights))
        learnt.append(course.loaded(better or weights))
        if better is None:  # what was refused, to see whether that was right
            checkpoint = torch.load(folder / f"{course.file}.learning", weights_only=True)
            learnt[-1].load_state_dict(checkpoint["average"])
    said = asdict(replace(outcome, segmenter_weights=None, tracker_weights=None))
    promoted = outcome.segmenter.promote, outcome.tracker.promote
    return Adapted((learnt[0], learnt[1]), (served[0], served[1]), promoted, said)


def measure_networks(networks: Networks, clip: AnnotatedClip) -> dict[str, float]:
    """Return the fields of `Measured`."""
    segmenter, tracker = networks
    if not isinstance(segmenter, ClickNetwork) or not isinstance(tracker, CompactNetwork):
        raise TypeError("These are not the compact profile's networks.")
    return asdict(measure(assemble(segmenter, tracker), clip))


def measure_served(
    found: Adapted, before: Mapping[str, float], after: Mapping[str, float] | None, clip: AnnotatedClip
) -> dict[str, float] | None:
    """Return the figures of what users get, measured only where they are not known yet.

    Args:
        found: what came of the adaptation.
        before, after: figures of the base and of what was learnt; None: not measured.
        clip: to measure on.

    Returns:
        The fields of `Measured`; None where nothing could be judged.
    """
    if found.served is None:
        return None
    known = {(False, False): before, (True, True): after}.get(found.promoted)
    return measure_networks(found.served, clip) if known is None else {name: known[name] for name in _FIGURES}


def run(
    domains: Mapping[str, Sequence[AnnotatedClip]], counts: Sequence[int], limits: AdaptationLimits, out: Path
) -> None:
    """Measure what is not in the file yet, all domains with the first count, then with the next one."""
    rows: dict[str, dict[str, Any]] = json.loads(out.read_text()) if out.exists() else {}

    def keep_row(name: str, row: dict[str, object]) -> None:
        rows[name] = {**row, "load": os.getloadavg()[0]}
        out.write_text(json.dumps(rows, indent=1) + "\n")
        print(name, row, flush=True)

    for count in counts:
        for name, clips in domains.items():
            unseen, others = clips[-1], clips[:-1][-count:]
            if f"{name} 0" not in rows:
                base = load_both(BASE.segmenter, BASE.tracker)
                keep_row(f"{name} 0", {"unseen": unseen.name, "frames": len(unseen), **asdict(measure(base, unseen))})
            if len(others) < count or f"{name} {count}" in rows:
                continue
            with tempfile.TemporaryDirectory() as folder:
                if count == 1:
                    found = learnt_directly(others[0], limits, Path(folder))
                else:
                    found = adapted([labeled(clip) for clip in others], limits, Path(folder))
            after = measure_networks(found.learnt, unseen)
            served = measure_served(found, rows[f"{name} 0"], after, unseen)
            keep_row(f"{name} {count}", {**after, "served": served, "said": found.said})


_ALONE = "what was learnt where no gate judged it"
_LEARNT, _SERVED = "what was learnt, promoted or not", "of the same, what users get after the gate"


def print_table(rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Print every domain before and after, what users gain on average, and how often the gate was right."""
    heads = f"{'first mask':>16}{'one click':>16}{'clicks to 0.85':>16}"
    print(f"{'domain':<14}{'clips':>5}{heads}  promoted (segmenter, tracker)")
    means: dict[str, list[Sequence[float]]] = {_ALONE: [], _LEARNT: [], _SERVED: []}
    rights: list[bool] = []
    for key, row in sorted(rows.items()):
        name, _, count = key.rpartition(" ")
        if count == "0":
            continue
        before = rows[f"{name} 0"]
        served = row.get("served")
        means[_LEARNT if served else _ALONE].append([row[each] - before[each] for each in _COMPARED])
        if served:
            means[_SERVED].append([served[each] - before[each] for each in _COMPARED])
        said = row["said"]
        promoted = [said[each]["promote"] for each in ("segmenter", "tracker")] if "promote" in said else []
        better = [row["first_click"] > before["first_click"], row["mask"] > before["mask"]]
        rights += [one == other for one, other in zip(promoted, better, strict=False)]
        figures = "".join(f"{before[each]:>9.1f}{row[each]:>7.1f}" for each in _COMPARED)
        told = ", ".join("yes" if each else "no" for each in promoted) or "cannot be judged"
        print(f"{name:<14}{count:>5}{figures}  {told}")
    for what, found in means.items():
        if found:
            mask, click, clicks = np.mean(found, 0)
            print(f"{what}, mean: {mask:+.1f} first mask, {click:+.1f} one click, {clicks:+.1f} clicks to 0.85")
    if rights:
        print(f"the gate was right about {sum(rights)} of {len(rights)} networks")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="JSON; gone on with if it is there")
    parser.add_argument("domains", nargs="*", help="NAME=FOLDER of clips, or NAME=CLIP:PARTS")
    parser.add_argument("--counts", type=int, nargs="+", default=[2, 1, 4], help="of clips that are learnt from")
    parser.add_argument("--seconds", type=float, default=120.0, help="for each adaptation, of the wall")
    parser.add_argument("--iterations", type=int, help="that each network learns, instead of --seconds")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    limits = AdaptationLimits(options.seconds, MEMORY_BYTES, options.threads)
    if options.iterations is not None:
        limits = replace(limits, seconds=AS_LONG_AS_IT_TAKES_S, iterations=options.iterations)
    run(dict(domain(each) for each in options.domains), options.counts, limits, options.out)
    print_table(json.loads(options.out.read_text()))


if __name__ == "__main__":
    main()
