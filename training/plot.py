"""Draw the curves of runs: `python -m training.plot RUN...` writes RUN/curves.png."""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from pathlib import Path

from training.loop import CURVES


def read_curves(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Return "train loss", "validation score", ... -> (iteration, value) in the order of writing."""
    curves: dict[str, list[tuple[int, float]]] = defaultdict(list)
    with (run / CURVES).open(newline="") as file:
        for kind, iteration, _seconds, name, value in csv.reader(file):
            curves[f"{kind} {name}"].append((int(iteration), float(value)))
    return dict(curves)


def plot(run: Path) -> Path:
    """Write RUN/curves.png, one panel per figure, and return its path."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import, and only wanted here

    curves = read_curves(run)
    figure = Figure(figsize=(5, 2.2 * len(curves)), layout="constrained")
    for axes, (name, points) in zip(figure.subplots(len(curves), squeeze=False)[:, 0], curves.items(), strict=True):
        axes.plot(*zip(*points, strict=True), marker="." if name.startswith("validation") else "")
        axes.set_title(name, fontsize=9)
    path = run / "curves.png"
    figure.savefig(path, dpi=90)
    return path


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        print(plot(Path(argument)))
