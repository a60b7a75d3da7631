"""A task on which people drew hundreds of masks is propagated in a small part of the memory that these would take."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import cv2
import numpy as np
from test_backend import BRUSH, PROPAGATE, draft, predict, region

# Its fixture, for these tests too.
from test_backend import backend  # noqa: F401  # isort: skip

from tam_backend.labelstudio.encoding import encode_brush
from tam_backend.service.backend import Backend

FRAMES, HEIGHT, WIDTH = 100, 360, 640


def test_a_request_with_hundreds_of_drawn_masks_holds_few_of_them_decoded(
    backend: Backend,  # noqa: F811
    tmp_path: Path,
) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for frame in range(FRAMES):
        cv2.imwrite(str(folder / f"{frame:03}.jpg"), np.full((HEIGHT, WIDTH, 3), 127, np.uint8))
    record = backend.library.register(folder)
    data = {"frames": [backend.library.frame_url("http://x", record.id, frame) for frame in range(FRAMES)]}
    drawn = []
    for frame in range(FRAMES):
        mask = np.zeros((HEIGHT, WIDTH), np.bool_)
        mask[frame : frame + 50, frame : frame + 200] = True
        value = {"rle": encode_brush(mask), "format": "rle"}
        size = {"original_width": WIDTH, "original_height": HEIGHT, "origin": "manual"}
        drawn.append(region("masks", "brushlabels", frame, value, "Rabbit", f"drawn-{frame}", **size))
    tracemalloc.start()
    try:
        assert predict(backend, data, PROPAGATE, drafts=draft(*drawn), config=BRUSH) == []
        assert tracemalloc.get_traced_memory()[1] < FRAMES * HEIGHT * WIDTH / 2
    finally:
        tracemalloc.stop()
    [summary] = backend.store.summaries_of("7", "1")
    assert summary.frames_done == FRAMES
