"""Run both training commands for seconds on a few made-up pictures: `python -m training.smoke [FOLDER]`.

It shows that all parts fit together, the reading of every kind of source among them; what comes out is of no use.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.io import savemat  # type: ignore[import-untyped]

from tam_backend.models.kind_registry import EMBEDDED_DIR

_HEIGHT, _WIDTH = 120, 160
_FILM_LENGTH = 6
_SETTINGS = """
output = "{output}"
data = "{data}/bsds500"
foregrounds = "{data}/salient"
agreed = 0.0
photos = "{data}/photos"
videos = "{data}/videos"
cutouts = "{data}/cutouts"
cache = "{data}/cache"
splits = ["train"]
start = "{start}"
side = 64
batch = 2
threads = 2
{more}
[shares]
bsds500 = 0.5
photos = 0.3
videos = 0.2
"""


def write_data(root: Path) -> None:
    """Write two pictures of every source: a bright disc and a dark square on a textured ground."""
    for number in range(2):
        image, ids = _picture(number, shift=0)
        _write(root / "bsds500" / "images" / "train" / f"{number}.jpg", image)
        truth = root / "bsds500" / "groundTruth" / "train"
        truth.mkdir(parents=True, exist_ok=True)
        # BSDS500's own layout: a cell of one structure for each annotator, whose regions count from 1.
        savemat(truth / f"{number}.mat", {"groundTruth": np.array([[{"Segmentation": ids + 1}]], dtype=object)})
        _write(root / "salient" / f"{number}.png", (ids == 1).astype(np.uint8))
        _write(root / "photos" / "set" / "images" / f"{number}.jpg", image)
        _write(root / "photos" / "set" / "masks" / f"{number}.png", ids)
        _write(root / "cutouts" / f"{number}.png", np.dstack([image, np.where(ids == 1, 255, 0).astype(np.uint8)]))
    for frame in range(_FILM_LENGTH):
        image, ids = _picture(5, shift=3 * frame)
        _write(root / "videos" / "film" / "frames" / f"{frame:05d}.jpg", image)
        _write(root / "videos" / "film" / "masks" / f"{frame:05d}.png", ids)


def _picture(seed: int, shift: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    image = cv2.resize(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8), (_WIDTH, _HEIGHT))
    ids = np.zeros((_HEIGHT, _WIDTH), np.uint8)
    cv2.circle(ids, (50 + shift, 60), 28, 1, -1)
    cv2.rectangle(ids, (100, 40), (140, 90), 2, -1)
    image[ids == 1] = (250, 250, 90)
    image[ids == 2] = (10, 60, 20)
    return np.asarray(image, np.uint8), ids


def _write(file: Path, image: NDArray[np.uint8]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), image)


def train(folder: Path, network: str, more: str, seconds: float) -> None:
    """Write the config of one command and run it.

    Args:
        folder: with `data`, as `write_data` makes it; the run goes to `folder`/NETWORK.
        network: "tracker" or "segmenter".
        more: settings of that command's own.
        seconds: of training.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    start = EMBEDDED_DIR / f"compact_{network}.safetensors"
    config = folder / f"{network}.toml"
    config.write_text(_SETTINGS.format(output=folder / network, data=folder / "data", start=start, more=more))
    command = [sys.executable, "-m", f"training.{network}", "--config", str(config), "--seconds", str(seconds)]
    subprocess.run(command, check=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the data and train both networks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="for data and runs; default: a temporary one")
    parser.add_argument("--seconds", type=float, default=3.0, help="of training, each")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        write_data(folder / "data")
        train(folder, "tracker", "length = 3\nsmall = 0.2\nfilmed = 0.3\nworkers = 2", options.seconds)
        train(folder, "segmenter", "wholeness = 2.0\nworkers = 1", options.seconds)


if __name__ == "__main__":
    main()
