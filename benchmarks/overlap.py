"""How much of a run is not the networks' time: `python -m benchmarks.overlap [CLIP] [--profile compact]`.

Tracks a clip (a folder of images, or a video; default ../shared/clips/chair) from a mask in its middle and writes the
masks, as `tam-backend track` does. Decoding, scaling and writing go on beside the networks; what remains is overhead.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np
import torch

from tam_backend import Prompt, TrackAnything, open_video
from tam_backend.tracking_run import out_folder, track

_CLIP = Path(__file__).resolve().parents[2] / "shared" / "clips" / "chair" / "JPEGImages"


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path, nargs="?", default=_CLIP)
    parser.add_argument("--profile", default="compact")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    tam = TrackAnything.load(arguments.profile)
    print(f"{arguments.clip}, {arguments.profile}, load {os.getloadavg()[0]:.1f}")
    with open_video(arguments.clip) as video, tempfile.TemporaryDirectory() as folder:
        height, width = video.size_hw
        mask = np.zeros((height, width), np.bool_)
        mask[height // 4 : height * 3 // 4, width // 3 : width * 2 // 3] = True
        for _ in range(arguments.rounds):
            timing = track(tam, video, [Prompt(object_id=1, frame=0, mask=mask)], out_folder(Path(folder))).timing
            networks = timing.track_s + timing.segment_s
            print(
                f"{len(video)} frames: {timing.total_s:.2f} s in all, networks {networks:.2f} s, decoding and scaling "
                f"{timing.decode_s:.2f} s beside them; overhead {100 * (timing.total_s / networks - 1):.1f} %"
            )


if __name__ == "__main__":
    main()
