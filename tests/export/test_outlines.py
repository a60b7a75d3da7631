"""Polygons of masks, filled again as the readers of COCO and YOLO fill them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from pycocotools import mask as coco
from synthetic import iou

from tam_backend.export import outlines
from tam_backend.export.outlines import edge_polygons, one_polygon
from tam_backend.types import EncodedMask

SIZE_HW = (90, 120)


def blobs(seed: int, count: int) -> np.ndarray:
    """Ellipses, as objects that people label."""
    rng = np.random.default_rng(seed)
    canvas = np.zeros(SIZE_HW, np.uint8)
    for _ in range(count):
        centre = int(rng.integers(15, 105)), int(rng.integers(15, 75))
        axes = int(rng.integers(8, 30)), int(rng.integers(8, 30))
        cv2.ellipse(canvas, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
    return canvas > 0


def filled(corners: np.ndarray) -> np.ndarray:
    canvas = np.zeros(SIZE_HW, np.uint8)
    cv2.fillPoly(canvas, [corners.astype(np.int32)], 1)
    return canvas > 0


@given(seed=st.integers(0, 10_000), count=st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_coco_polygons_overlap_by_the_tolerance(seed: int, count: int) -> None:
    mask = blobs(seed, count)
    polygons = edge_polygons(EncodedMask.of(mask))
    assume(polygons is not None)
    again = coco.decode(coco.merge(coco.frPyObjects(polygons, *SIZE_HW))).astype(bool)
    assert iou(again, mask) >= 0.98


@given(seed=st.integers(0, 10_000), count=st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_yolo_polygons_differ_by_the_lines_between_parts_only_and_say_how_far(seed: int, count: int) -> None:
    mask = blobs(seed, count)
    corners, overlap = one_polygon(EncodedMask.of(mask))
    again = filled(corners)
    assert iou(again, mask) == overlap
    assert not (mask & ~again).any()
    parts, _ = cv2.connectedComponents(mask.astype(np.uint8))
    assert np.count_nonzero(again & ~mask) <= (parts - 2) * max(SIZE_HW)


@given(mask=npst.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))))
@settings(max_examples=200, deadline=None)
def test_a_mask_of_one_piece_without_holes_is_exact(mask: np.ndarray) -> None:
    corners, overlap = one_polygon(EncodedMask.of(mask))
    if not mask.any():
        assert len(corners) == 0
        return
    assert len(corners) >= 3
    again = np.zeros(mask.shape, np.uint8)
    cv2.fillPoly(again, [corners.astype(np.int32)], 1)
    assert overlap == iou(again > 0, mask)
    pieces, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if len(pieces) == 1:
        assert np.array_equal(again > 0, mask)


def test_a_mask_with_a_hole_has_no_coco_polygons_but_a_yolo_polygon() -> None:
    mask = blobs(1, 1)
    rows, columns = (values.mean().astype(int) for values in np.nonzero(mask))
    mask[rows - 3 : rows + 3, columns - 3 : columns + 3] = False
    assert edge_polygons(EncodedMask.of(mask)) is None
    corners, overlap = one_polygon(EncodedMask.of(mask))
    assert overlap >= 0.98
    assert not filled(corners)[rows - 1, columns + 2]


def joined_plainly(rings: list[np.ndarray]) -> np.ndarray:
    """One line along all rings, each ring compared with the whole line anew; the first of several that are as near."""
    line, *rest = rings
    while rest:
        squared = [((line[:, None] - ring[None]) ** 2).sum(axis=2) for ring in rest]
        chosen = min(range(len(rest)), key=lambda each: squared[each].min())
        here, there = np.unravel_index(squared[chosen].argmin(), squared[chosen].shape)
        ring = np.roll(rest.pop(chosen), -there, axis=0)
        line = np.concatenate((line[: here + 1], ring, ring[:1], line[here:]))
    return line


@given(
    mask=npst.arrays(bool, st.tuples(st.integers(1, 16), st.integers(1, 16))), most_pairs=st.sampled_from([7, 10**6])
)
@settings(max_examples=200, deadline=None)
def test_rings_are_joined_where_the_line_so_far_is_nearest(mask: np.ndarray, most_pairs: int) -> None:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    assume(contours)
    rings = [contour[:, 0, :].astype(np.int64) for contour in contours]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outlines, "_MOST_PAIRS", most_pairs)
        assert np.array_equal(outlines._joined(rings), joined_plainly(rings))


def test_no_two_corners_are_compared_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the whole line anew for each ring, 2,000 specks took half a minute."""
    compared = []
    nearest = outlines._nearest

    def counted(corners: np.ndarray, line: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        compared.append(len(corners) * len(line))
        return nearest(corners, line)

    monkeypatch.setattr(outlines, "_nearest", counted)
    rings = [np.array([[x, y], [x + 1, y], [x + 1, y + 1]]) for x in range(0, 60, 4) for y in range(0, 60, 4)]
    outlines._joined(rings)
    corners = 3 * len(rings)
    assert sum(compared) == (corners * corners - 3 * corners) / 2


def test_of_countless_specks_the_largest_parts_count_and_the_overlap_says_so() -> None:
    mask = np.zeros((200, 400), bool)
    mask[20:180, 20:80] = True  # four corners
    plus = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)
    for top in range(5, 195, 5):
        for left in range(100, 390, 5):
            mask[top : top + 3, left : left + 3] = plus
    corners, overlap = one_polygon(EncodedMask.of(mask))
    again = np.zeros(mask.shape, np.uint8)
    cv2.fillPoly(again, [corners.astype(np.int32)], 1)
    assert again[20:180, 20:80].all()
    assert iou(again > 0, mask) == overlap < 0.98
    assert len(corners) == 4 + 999 * (4 + 2)


def test_an_empty_mask_has_no_polygon() -> None:
    nothing = EncodedMask.of(np.zeros(SIZE_HW, bool))
    assert edge_polygons(nothing) == []
    assert len(one_polygon(nothing)[0]) == 0
