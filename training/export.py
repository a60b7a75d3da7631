"""Put trained weights into the package: `python -m training.export --tracker RUN/best.pt`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from tam_backend.models.weights import MANIFEST_NAME, fingerprint
from tam_backend.models.zoo import EMBEDDED_DIR


def export(checkpoint: Path, target: Path) -> None:
    """Write a checkpoint's running average in half precision, and record its SHA-256 in the manifest beside it.

    Args:
        checkpoint: of `training.loop`.
        target: a .safetensors file.
    """
    average = torch.load(checkpoint, weights_only=True)["average"]
    save_file({name: value.half().contiguous() for name, value in average.items()}, target)
    manifest_path = target.with_name(MANIFEST_NAME)
    manifest = json.loads(manifest_path.read_text()) if manifest_path.exists() else {"sha256": {}}
    manifest["sha256"][target.name] = fingerprint(target)
    manifest_path.write_text(json.dumps(manifest, indent=2) + "\n")


def main() -> None:
    """Export what is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tracker", type=Path)
    parser.add_argument("--segmenter", type=Path)
    parser.add_argument("--folder", type=Path, default=EMBEDDED_DIR)
    options = parser.parse_args()
    for name in ("tracker", "segmenter"):
        checkpoint = getattr(options, name)
        if checkpoint is not None:
            export(checkpoint, options.folder / f"compact_{name}.safetensors")


if __name__ == "__main__":
    main()
