"""Put trained weights into the package: `python -m training.export --tracker RUN/checkpoint.pt`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tam_backend.adaptation.blending import blend
from tam_backend.models.weights import MANIFEST_NAME, fingerprint
from tam_backend.models.zoo import EMBEDDED_DIR


def weights_of(file: Path) -> dict[str, Tensor]:
    """Return the running average of a checkpoint of `training.loop`, or the content of a .safetensors file."""
    if file.suffix == ".safetensors":
        return load_file(file)
    average: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)["average"]
    return average


def export(checkpoint: Path, target: Path, start: Path | None = None, share: float = 1.0) -> None:
    """Write trained weights in half precision, and record their SHA-256 in the manifest beside them.

    Args:
        checkpoint: of `training.loop`, or a .safetensors file that came from another machine.
        target: a .safetensors file.
        start: the weights that the training started from, or None.
        share: how far to go from `start` to the checkpoint, in weights; halfway may keep what either is better at
            (Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022).
    """
    weights = weights_of(checkpoint)
    if start is not None:
        weights = blend(load_file(start), weights, share)
    save_file({name: value.half().contiguous() for name, value in weights.items()}, target)
    # safetensors writes for the owner alone; a package's files are for everyone to read.
    target.chmod(0o644)
    manifest_path = target.with_name(MANIFEST_NAME)
    manifest = json.loads(manifest_path.read_text()) if manifest_path.exists() else {"sha256": {}}
    manifest["sha256"][target.name] = fingerprint(target)
    manifest_path.write_text(json.dumps(manifest, indent=2) + "\n")


def main() -> None:
    """Export what is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tracker", type=Path)
    parser.add_argument("--segmenter", type=Path)
    parser.add_argument(
        "--start", type=Path, help="safetensors of before the training, to stop short of the checkpoint"
    )
    parser.add_argument("--share", type=float, default=0.5, help="with --start: 0 = start, 1 = checkpoint")
    parser.add_argument("--folder", type=Path, default=EMBEDDED_DIR)
    options = parser.parse_args()
    for name in ("tracker", "segmenter"):
        checkpoint = getattr(options, name)
        if checkpoint is not None:
            export(checkpoint, options.folder / f"compact_{name}.safetensors", options.start, options.share)


if __name__ == "__main__":
    main()
