"""PNGs of masks: other people's readers see every pixel, whatever rows are empty."""

from __future__ import annotations

from io import BytesIO

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from PIL import Image

from tam_backend.export.palette import davis_palette
from tam_backend.png import mask_png

SIZES = st.tuples(st.integers(0, 7), st.integers(1, 40))
"""Of the rows with something in them."""


@given(
    rows=npst.arrays(np.uint8, SIZES) | npst.arrays(np.uint16, SIZES),
    above=st.integers(0, 9),
    below=st.integers(0, 9),
)
def test_shades_of_grey_come_back_in_opencv_and_pillow(rows: np.ndarray, above: int, below: int) -> None:
    if not above + len(rows) + below:
        below = 1
    expected = np.pad(rows, ((above, below), (0, 0)))
    written = mask_png(rows, above, len(expected))
    assert np.array_equal(np.asarray(Image.open(BytesIO(written))), expected)
    seen = cv2.imdecode(np.frombuffer(written, np.uint8), cv2.IMREAD_UNCHANGED)
    assert seen.dtype == rows.dtype and np.array_equal(seen, expected)


@given(rows=npst.arrays(np.uint8, (3, 5)))
def test_places_in_a_palette_come_back_with_it(rows: np.ndarray) -> None:
    picture = Image.open(BytesIO(mask_png(rows, 2, 9, davis_palette().tobytes())))
    assert picture.mode == "P"
    assert np.array_equal(np.asarray(picture), np.pad(rows, ((2, 4), (0, 0))))
    assert picture.getpalette() == davis_palette().ravel().tolist()


def test_a_large_frame_is_whole_to_its_last_row() -> None:
    """Over the sizes at which checksums and runs begin anew."""
    rows = np.random.default_rng(1).integers(0, 3, (300, 3001), np.uint8) // 2 * 255
    with Image.open(BytesIO(mask_png(rows, 900, 2000))) as picture:
        picture.verify()
    seen = np.asarray(Image.open(BytesIO(mask_png(rows, 900, 2000))))
    assert np.array_equal(seen, np.pad(rows, ((900, 800), (0, 0))))


def test_the_stream_is_one_that_zlib_itself_accepts() -> None:
    """Its checksum included, which some readers do not look at."""
    import zlib

    rows = np.full((2, 70000), 7, np.uint8)
    written = mask_png(rows, 3, 10)
    packed = written[written.index(b"IDAT") + 4 : written.index(b"IEND") - 8]
    lines = zlib.decompress(packed)
    assert len(lines) == 10 * 70001
