"""What a click costs beside the masks of its draft: `python -m benchmarks.click_cost [--pages 200]`.

The same click on the same page of 720p, by turns: with an empty draft, with the same bytes where nobody reads them, and
beside three masks on every page, once ours (tracked) and once drawn by hand. Each kind's median, and its ratio to the
bytes that nobody reads: those a server has to receive and parse whatever it does with them. The time is that of
`Backend.predict`, with the JSON parsed, as the server does it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tam_backend.labelstudio.encoding import encode_brush
from tam_backend.labelstudio.recommended_config import recommended_config
from tam_backend.service.backend import Backend
from tam_backend.settings import Settings

HEIGHT, WIDTH, RADIUS = 720, 1280, 80
PLACES_YX = ((200, 200), (300, 550), (400, 900))
CLICKED_YX = (600, 1100)
CONFIG = recommended_config(["Ball"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=200)
    parser.add_argument("--tries", type=int, default=15)
    parser.add_argument("--profile", default="compact")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seconds = measure(Path(folder), arguments.pages, arguments.tries, arguments.profile)
    medians = {kind: statistics.median(taken) for kind, taken in seconds.items()}
    print(f"A click at {WIDTH}x{HEIGHT} beside 3 masks on each of {arguments.pages} pages, {arguments.tries} tries")
    for kind, median in medians.items():
        print(f"{kind:24} {1000 * median:7.0f} ms   {median / medians['bytes nobody reads']:5.2f}")


def measure(folder: Path, pages: int, tries: int, profile: str) -> dict[str, list[float]]:
    """Return seconds a click by kind of draft."""
    backend = Backend(Settings(data_dir=folder / "data", media_dirs=(folder,), profile=profile))
    frames = [str(_picture(folder))] * pages
    tracked, drawn = (
        [_mask(page, place, own) for page in range(pages) for place in PLACES_YX] for own in (True, False)
    )
    kinds: dict[str, tuple[dict[str, Any], list[Any]]] = {
        "an empty draft": ({"frames": frames}, []),
        "bytes nobody reads": ({"frames": frames, "unused": tracked}, []),
        "masks that were tracked": ({"frames": frames}, tracked),
        "masks drawn by hand": ({"frames": frames}, drawn),
    }
    bodies = {kind: json.dumps(_click(data, draft, pages // 2)) for kind, (data, draft) in kinds.items()}
    taken: dict[str, list[float]] = {kind: [] for kind in kinds}
    for number in range(tries + 1):
        for kind, body in bodies.items():
            start = time.perf_counter()
            [answer] = backend.predict(json.loads(body), cancelled=lambda: False)
            if number:  # the first one loads the networks, and looks at the page
                taken[kind].append(time.perf_counter() - start)
            assert answer["result"], "a click without a mask tells nothing"
    backend.close()
    return taken


def _picture(folder: Path) -> Path:
    noise = np.random.default_rng(0).integers(90, 140, (HEIGHT, WIDTH, 3), np.uint8)
    picture = cv2.GaussianBlur(noise, (0, 0), 5)
    for (y, x), colour in zip((*PLACES_YX, CLICKED_YX), ((0, 0, 220),) * 3 + ((220, 60, 0),), strict=True):
        cv2.circle(picture, (x, y), RADIUS, colour, -1)
    path = folder / "page.png"
    cv2.imwrite(str(path), picture)
    return path


def _mask(page: int, place: tuple[int, int], own: bool) -> dict[str, Any]:
    y, x = place
    rows, columns = np.ogrid[:HEIGHT, :WIDTH]
    name = f"k{PLACES_YX.index(place)}"
    return {
        "id": f"tam-{name}-{page}f" if own else f"hand {name} {page}",
        "from_name": "mask", "to_name": "frames", "type": "brushlabels", "item_index": page, "image_rotation": 0,
        "original_width": WIDTH, "original_height": HEIGHT,
        "value": {
            "format": "rle", "brushlabels": ["Ball"],
            "rle": encode_brush((rows - y) ** 2 + (columns - x) ** 2 <= RADIUS**2),
        },
        **({"origin": "prediction", "meta": {"tam_source": "propagated" if page else "prompt"}} if own else {}),
    }  # fmt: skip


def _click(data: dict[str, Any], draft: list[Any], page: int) -> dict[str, Any]:
    y, x = CLICKED_YX
    point = {
        "id": "clicked", "from_name": "point", "to_name": "frames", "type": "keypointlabels", "item_index": page,
        "original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0, "is_positive": True,
        "value": {"x": 100 * x / WIDTH, "y": 100 * y / HEIGHT, "width": 0.3, "keypointlabels": ["Ball"]},
    }  # fmt: skip
    saved = {"id": 1, "result": draft, "updated_at": "2026-01-01T00:00:00Z", "created_username": "Ann a@example.com, 1"}
    return {
        "tasks": [{"id": 1, "data": data, "drafts": [saved]}],
        "project": "1.1",
        "label_config": CONFIG,
        "params": {"context": {"result": [point]}},
    }


if __name__ == "__main__":
    main()
