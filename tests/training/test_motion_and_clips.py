"""Synthetic clips: the masks are the truth, and the same seed gives the same clips."""

from __future__ import annotations

from functools import partial
from itertools import islice

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.clips import Clip, ClipMaker
from training.layers import SegmentPicker, cut_out, thin_shape, without
from training.motion import MotionStyle, Placement, Sampling, exit_path, sampling_maps, smooth_path
from training.segments import AnnotatedImage, annotate
from training.stills import StillMaker
from training.streams import SampleStream

SIDE, LENGTH = 64, 5


@pytest.fixture(scope="module")
def images() -> list[AnnotatedImage]:
    """Three pictures of a bright disc and a dark square on a textured ground, cut up by two annotators."""
    made = []
    for number in range(3):
        rng = np.random.default_rng(number)
        image = cv2.resize(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8), (160, 120))
        regions = np.ones((120, 160), np.uint8)
        cv2.circle(regions, (50, 60), 28, 2, -1)
        cv2.rectangle(regions, (100, 40), (140, 90), 3, -1)
        image[regions == 2] = (250, 250, 90 * number)
        image[regions == 3] = (10, 60 * number, 20)
        made.append(annotate(f"picture{number}", image, [regions, np.where(regions == 3, 1, regions).astype(np.uint8)]))
    return made


def take(images: list[AnnotatedImage], count: int, seed: int = 1) -> list[Clip]:
    return list(islice(ClipMaker(images, SIDE, LENGTH, seed), count))


def test_clips_have_frames_and_labels_of_one_size(images: list[AnnotatedImage]) -> None:
    for clip in take(images, 8):
        assert clip.frames.shape == (LENGTH, SIDE, SIDE, 3)
        assert clip.labels.shape == (LENGTH, SIDE, SIDE)
        assert clip.frames.dtype == clip.labels.dtype == np.uint8
        assert set(np.unique(clip.labels)) <= {0, 1, 2}


def test_first_object_is_seen_on_the_first_frame(images: list[AnnotatedImage]) -> None:
    assert all((clip.labels[0] == 1).mean() > 0.002 for clip in take(images, 12))


def test_same_seed_gives_the_same_clips_and_another_gives_others(images: list[AnnotatedImage]) -> None:
    first, again, other = take(images, 3), take(images, 3), take(images, 3, seed=2)
    for a, b in zip(first, again, strict=True):
        assert np.array_equal(a.frames, b.frames)
        assert np.array_equal(a.labels, b.labels)
    assert any(not np.array_equal(a.labels, b.labels) for a, b in zip(first, other, strict=True))


def test_labels_follow_the_picture(images: list[AnnotatedImage]) -> None:
    """Across the outline of an object the colour changes more than elsewhere: masks lie on things."""
    on_outline, elsewhere = [], []
    for clip in take(images, 20):
        for frame, labels in zip(clip.frames, clip.labels, strict=True):
            step = np.abs(np.diff(frame.astype(int), axis=1)).sum(2)
            outline = labels[:, 1:] != labels[:, :-1]
            on_outline.append(step[outline].sum() / max(1, outline.sum()))
            elsewhere.append(step[~outline].mean())
    assert np.mean(on_outline) > 2 * np.mean(elsewhere)


def test_stream_gives_tensors_with_channels_first(images: list[AnnotatedImage]) -> None:
    frames, labels = next(iter(SampleStream(partial(ClipMaker, images, SIDE, LENGTH), 0)))
    assert tuple(frames.shape) == (LENGTH, 3, SIDE, SIDE)
    assert tuple(labels.shape) == (LENGTH, SIDE, SIDE)


def test_stills_are_reproducible_and_show_something(images: list[AnnotatedImage]) -> None:
    one = list(islice(StillMaker(images, SIDE, 3), 6))
    two = list(islice(StillMaker(images, SIDE, 3), 6))
    for (image, mask), (image_again, mask_again) in zip(one, two, strict=True):
        assert image.shape == (SIDE, SIDE, 3)
        assert mask.shape == (SIDE, SIDE)
        assert 0.002 < mask.mean() < 0.85
        assert np.array_equal(image, image_again)
        assert np.array_equal(mask, mask_again)


def test_paths_start_at_rest_and_exits_come_back() -> None:
    rng = np.random.default_rng(0)
    assert np.allclose(smooth_path(rng, 6, 2, 3.0, 1.0)[0], 0)
    way = np.linalg.norm(exit_path(rng, 7, 100.0), axis=1)
    assert way[0] == pytest.approx(0, abs=1e-4)
    assert way[3] == pytest.approx(100, rel=1e-5)
    assert way[-1] == pytest.approx(0, abs=1e-4)


def test_a_thing_at_rest_stays_where_it_is_put() -> None:
    """Without speed, bend or tilt the source's centre is sampled at the start position on every frame."""
    camera = np.zeros((3, 2), np.float32)
    style = MotionStyle(speed=0.0, bend=0.0)
    place = Placement((7.0, 9.0), (16, 20), 1.0)
    for map_x, map_y, _ in sampling_maps(np.random.default_rng(0), style, 32, place, camera, 0.0):
        assert map_x[20, 16] == pytest.approx(7)
        assert map_y[20, 16] == pytest.approx(9)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.05, 3.0), x=st.floats(-40, 170), y=st.floats(-40, 170))
def test_the_part_of_the_frame_that_shows_a_layer_is_found_and_sampled_alike(
    seed: int, scale: float, x: float, y: float
) -> None:
    box = (40, 60, 120, 150)
    alpha = np.zeros((200, 180), np.uint8)
    alpha[box[1] : box[3], box[0] : box[2]] = 255
    camera, style = np.zeros((3, 2), np.float32), MotionStyle(speed=1.0, bend=4.0)

    def maps(source_box: tuple[int, int, int, int] | None) -> list[Sampling]:
        rng = np.random.default_rng(seed)
        return list(sampling_maps(rng, style, 128, Placement((80.0, 105.0), (x, y), scale, source_box), camera, 0.2))

    for whole, part in zip(maps(None), maps(box), strict=True):
        everywhere = cv2.remap(alpha, whole.map_x, whole.map_y, cv2.INTER_LINEAR)
        within = np.zeros_like(everywhere)
        if part.map_x.size:
            within[part.place] = cv2.remap(alpha, part.map_x, part.map_y, cv2.INTER_LINEAR)
        assert np.array_equal(everywhere, within)


def test_small_objects_are_small_and_all_that_is_asked_for_is(images: list[AnnotatedImage]) -> None:
    for clip in islice(ClipMaker(images, 128, LENGTH, 3, small=1.0), 12):
        area = (clip.labels[0] == 1).sum()
        assert 40 < area < 56 * 56 * 1.5
        assert (clip.labels[0] == 2).sum() < 56 * 56 * 1.5


def test_images_are_drawn_as_often_as_they_weigh(images: list[AnnotatedImage]) -> None:
    picker = SegmentPicker(images, 0.2, (0.01, 0.4), weights=np.array([1.0, 0.0, 3.0]))
    rng = np.random.default_rng(0)
    drawn = [picker.image(rng) for _ in range(400)]
    assert drawn.count(1) == 0
    assert drawn.count(2) == pytest.approx(300, abs=40)


def test_segments_know_area_border_and_agreement(images: list[AnnotatedImage]) -> None:
    by_ids = {(s.annotator, s.region_ids): s for s in images[0].segments}
    disc, square = by_ids[0, (2,)], by_ids[0, (3,)]
    assert disc.area == pytest.approx(np.pi * 28**2 / (160 * 120), rel=0.03)
    assert disc.border == 0
    assert disc.agreement == pytest.approx(1)
    # The other annotator saw no square: no union of his regions is like it.
    assert square.agreement < 0.2
    assert square.box_xyxy == (100, 40, 141, 91)


def test_picker_prefers_what_annotators_agree_on(images: list[AnnotatedImage]) -> None:
    picker = SegmentPicker(images, max_border=0.2, area_range=(0.01, 0.4))
    rng = np.random.default_rng(0)
    drawn = [picker.segment(rng, 0).region_ids for _ in range(200)]
    assert drawn.count((2,)) > 2 * drawn.count((3,))


def test_thin_shapes_hang_together_and_leave_gaps(images: list[AnnotatedImage]) -> None:
    rng = np.random.default_rng(5)
    for _ in range(10):
        layer = thin_shape(images[0].image, rng)
        count, _ = cv2.connectedComponents((layer.alpha > 127).astype(np.uint8))
        assert count == 2  # background and one thing
        x0, y0, x1, y1 = layer.box_xyxy
        assert (layer.alpha[y0:y1, x0:x1] == 0).mean() > 0.1


def test_what_is_behind_a_thing_is_filled_in_from_around(images: list[AnnotatedImage]) -> None:
    image = np.full((80, 80, 3), 40, np.uint8)
    alpha = np.zeros((80, 80), np.uint8)
    cv2.circle(alpha, (40, 40), 15, 255, -1)
    image[alpha > 0] = 220
    assert without(image, alpha)[40, 40].max() < 80
    assert cut_out(images[0], images[0].segments[0], np.random.default_rng(0)).alpha.max() == 255
