from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tam_backend.errors import InvalidInputError, InvalidPromptError
from tam_backend.models.padding import Padding
from tam_backend.models.protocols import FrameEmbedding, Models, Segmentation, SegmenterPrompts
from tam_backend.models.segmenters.box_prompts import box_clicks, box_prior, inside_box
from tam_backend.models.segmenters.click_network import ClickNetwork, EncodedFrames
from tam_backend.models.segmenters.clicks import DISC_RADIUS_PX, click_discs, connected_to_clicks, honour_clicks
from tam_backend.models.segmenters.compact_segmenter import CompactSegmenter
from tam_backend.types import BoolMask, Point, RgbFrame

Iou = Callable[[BoolMask, BoolMask], float]
ON_BALL, OFF_BALL = Point(70.0, 100.0), Point(200.0, 40.0, False)
BALL_BOX = (34.0, 64.0, 107.0, 137.0)


@pytest.fixture(scope="module")
def ball(scene: Callable[[int], tuple[RgbFrame, BoolMask]]) -> tuple[RgbFrame, BoolMask]:
    return scene(0)


@pytest.fixture(scope="module")
def embedding(compact: Models, ball: tuple[RgbFrame, BoolMask]) -> FrameEmbedding:
    return compact.segmenter.encode(ball[0])


@pytest.mark.parametrize(
    "prompts",
    [
        SegmenterPrompts(points=(ON_BALL,)),
        SegmenterPrompts(points=(OFF_BALL, ON_BALL)),
        SegmenterPrompts(box=BALL_BOX),
        SegmenterPrompts(points=(ON_BALL, OFF_BALL), box=BALL_BOX),
    ],
    ids=["click", "negative before positive", "box", "clicks and box"],
)
def test_a_plain_object_is_found(
    prompts: SegmenterPrompts, compact: Models, embedding: FrameEmbedding, ball: tuple[RgbFrame, BoolMask], iou: Iou
) -> None:
    answer = compact.segmenter.segment(embedding, prompts)
    assert answer.mask.dtype == bool
    assert answer.mask.shape == ball[1].shape
    assert iou(answer.mask, ball[1]) > 0.75
    assert 0.5 < answer.predicted_iou <= 1


def test_earlier_logits_alone_give_about_the_same_mask_again(
    compact: Models, embedding: FrameEmbedding, ball: tuple[RgbFrame, BoolMask], iou: Iou
) -> None:
    first = compact.segmenter.segment(embedding, SegmenterPrompts(points=(ON_BALL,)))
    assert first.logits.shape == embedding.input_hw
    for logits in (first.logits, torch.from_numpy(ball[1]).float()[::4, ::4] * 20 - 10):
        refined = compact.segmenter.segment(embedding, SegmenterPrompts(points=(ON_BALL,), mask_logits=logits))
        assert iou(refined.mask, ball[1]) > 0.7


def test_mask_given_without_clicks_is_taken_as_the_earlier_mask(
    compact: Models, embedding: FrameEmbedding, ball: tuple[RgbFrame, BoolMask], iou: Iou
) -> None:
    logits = torch.from_numpy(ball[1]).float() * 20 - 10
    seen = compact.segmenter.segment(embedding, SegmenterPrompts(mask_logits=logits)).mask
    blank = compact.segmenter.segment(embedding, SegmenterPrompts(mask_logits=torch.full((4, 4), -20.0))).mask
    assert iou(seen, ball[1]) > iou(blank, ball[1])


# A frame of which both inputs are padded, and how large they are before that.
PADDED_HW, NEAR_HW, FARTHER_HW = (640, 650), (384, 390), (288, 292)


class Spied:
    """A click network that gives the answers that it is told to, and tells what it was asked.

    Args:
        answers: one after the other: a logit for all cells, or the logits of (1, 1, padded h / 4, padded w / 4) cells.
    """

    def __init__(self, *answers: float | Tensor) -> None:
        self._answers = iter(answers)
        self.network = ClickNetwork().eval()
        self._encode_really = self.network.encode
        self.network.encode = self._encode  # type: ignore[method-assign]
        self.network.decode = self._decode  # type: ignore[method-assign]
        self.encoded: list[int] = []
        self.clicks: list[int] = []
        self.earlier: list[Tensor] = []
        self.widths: list[int] = []

    @property
    def most_earlier(self) -> list[float]:
        """Return the largest probability of each earlier mask that it saw."""
        return [float(each.max()) for each in self.earlier]

    def _encode(self, image: Tensor) -> EncodedFrames:
        self.encoded.append(image.shape[-1])
        return self._encode_really(image)

    def _decode(self, frames: EncodedFrames, positive: Tensor, negative: Tensor, earlier: Tensor) -> Tensor:
        self.clicks.append(int(positive.sum() > 0) + int(negative.sum() > 0))
        self.earlier.append(earlier)
        self.widths.append(positive.shape[-1])
        answer = next(self._answers)
        return answer if isinstance(answer, Tensor) else torch.full((1, 1, *frames.stride4.shape[-2:]), answer)

    def click(
        self, *points: Point, size_hw: tuple[int, int] = (64, 64), mask_logits: Tensor | None = None
    ) -> Segmentation:
        """Click into a black frame."""
        segmenter = CompactSegmenter(self.network, "spied on", torch.device("cpu"))
        embedding = segmenter.encode(np.zeros((*size_hw, 3), np.uint8))
        return segmenter.segment(embedding, SegmenterPrompts(points=points, mask_logits=mask_logits))


def left_part(share: float, input_hw: tuple[int, int], beside: float = -9.0) -> Tensor:
    """Return logits of the cells of a padded input: 9 in the left part of the frame, -9 in the rest.

    Args:
        share: of the frame that the left part is.
        input_hw: of the frame before padding.
        beside: the logits of the padding.
    """
    padding = Padding.to_stride(input_hw, ClickNetwork.STRIDE)
    plane = torch.full((1, 1, *input_hw), -9.0)
    plane[..., : round(share * input_hw[1])] = 9
    return functional.avg_pool2d(padding.add(plane - beside) + beside, 4)


def test_network_sees_its_answer_to_the_last_click_once_more() -> None:
    spied = Spied(-1.0, -2.0, -3.0)
    spied.click(Point(30, 30), Point(50, 50, False))
    assert spied.clicks == [1, 2, 2]
    assert spied.most_earlier == pytest.approx([0.0, *torch.sigmoid(torch.tensor([-1.0, -2.0])).tolist()])


def test_large_answer_to_the_first_click_is_the_mean_with_one_from_farther_away() -> None:
    spied = Spied(1.0, 3.0, 0.5, 0.5)
    spied.click(Point(30, 30), Point(50, 50, False))
    assert list(zip(spied.clicks, spied.widths, strict=True)) == [(1, 384), (1, 288), (2, 384), (2, 384)]
    near, farther = torch.sigmoid(torch.tensor([1.0, 3.0])).tolist()
    assert spied.most_earlier[:3] == pytest.approx([0.0, 0.0, (near + farther) / 2])


def test_first_click_alone_is_answered_from_both_sizes_twice() -> None:
    spied = Spied(1.0, 3.0, 1.0, -3.0)
    assert not spied.click(Point(30, 30)).mask[:16].any()
    assert spied.widths == [384, 288, 384, 288]
    assert spied.encoded == [384, 288]
    near, farther = torch.sigmoid(torch.tensor([1.0, 3.0])).tolist()
    assert spied.most_earlier == pytest.approx([0.0, 0.0, *2 * [(near + farther) / 2]])


@pytest.mark.parametrize(("share", "sizes"), [(0.04, {416}), (0.06, {416, 320})])
def test_an_answer_is_large_that_fills_a_twentieth_of_the_frame(share: float, sizes: set[int]) -> None:
    near = left_part(share, NEAR_HW)
    spied = Spied(*(5 * [near] if len(sizes) == 1 else 2 * [near, left_part(share, FARTHER_HW)]))
    spied.click(Point(5, 320), size_hw=PADDED_HW)
    assert set(spied.widths) == sizes


def test_what_is_answered_beside_the_frame_makes_nothing_large() -> None:
    spied = Spied(*3 * [left_part(0, NEAR_HW, beside=9.0)])
    spied.click(Point(320, 320), Point(600, 20), size_hw=PADDED_HW)  # too far apart to be looked at again
    assert spied.widths == [416, 416, 416]


def test_answer_from_farther_away_lies_where_the_thing_is() -> None:
    spied = Spied(*2 * [0.1, left_part(0.25, FARTHER_HW)])
    mask = spied.click(Point(5, 320), size_hw=PADDED_HW).mask
    assert spied.widths == [416, 320, 416, 320]
    assert mask.sum(1) == pytest.approx(np.full(PADDED_HW[0], 0.25 * PADDED_HW[1]), abs=4)  # in every row
    seen = Padding.to_stride(FARTHER_HW, ClickNetwork.STRIDE).remove(spied.earlier[-1])[0, 0] > 0.5
    assert seen.sum(1).numpy() == pytest.approx(np.full(FARTHER_HW[0], 0.25 * FARTHER_HW[1]), abs=2)


def test_where_a_mask_is_given_the_first_click_is_answered_at_one_size() -> None:
    spied = Spied(1.0)
    spied.click(Point(30, 30), mask_logits=torch.full((8, 8), 5.0))
    assert spied.widths == [384]


def test_nothing_outside_a_box_is_answered(compact: Models, embedding: FrameEmbedding) -> None:
    box = (60.0, 90.0, 90.0, 110.0)  # well within the ball
    mask = compact.segmenter.segment(embedding, SegmenterPrompts(box=box)).mask
    assert mask.any()
    assert not (mask & ~inside_box(box, mask.shape)).any()


def test_clicks_hold_whatever_the_network_thinks(compact: Models, embedding: FrameEmbedding) -> None:
    points = tuple(Point(float(x), float(y), (x + y) % 2 == 0) for x in (9, 70, 131, 250) for y in (8, 99, 100, 190))
    mask = compact.segmenter.segment(embedding, SegmenterPrompts(points=points)).mask
    assert [bool(mask[int(p.y), int(p.x)]) for p in points] == [p.positive for p in points]


def test_same_prompts_same_answer(compact: Models, embedding: FrameEmbedding) -> None:
    prompts = SegmenterPrompts(points=(ON_BALL, OFF_BALL))
    first, second = (compact.segmenter.segment(embedding, prompts) for _ in range(2))
    assert np.array_equal(first.mask, second.mask)
    assert torch.equal(first.logits, second.logits)
    assert first.predicted_iou == second.predicted_iou


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 40), (33, 47), (7, 400)])
def test_frames_of_any_size_are_answered_at_their_size(size_hw: tuple[int, int], compact: Models) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (*size_hw, 3), dtype=np.uint8)
    embedding = compact.segmenter.encode(frame)
    answer = compact.segmenter.segment(embedding, SegmenterPrompts(points=(Point(0.0, 0.0),)))
    assert answer.mask.shape == size_hw
    assert answer.mask[0, 0]
    assert answer.logits.shape == embedding.input_hw
    assert torch.isfinite(answer.logits).all()


@pytest.mark.parametrize("points", [(), (OFF_BALL,)])
def test_prompts_that_do_not_say_where_the_object_is_are_refused(
    points: tuple[Point, ...], compact: Models, embedding: FrameEmbedding
) -> None:
    with pytest.raises(InvalidPromptError):
        compact.segmenter.segment(embedding, SegmenterPrompts(points=points))


def test_mask_logits_must_be_a_plane(compact: Models, embedding: FrameEmbedding) -> None:
    with pytest.raises(InvalidPromptError, match="logits"):
        compact.segmenter.segment(embedding, SegmenterPrompts(mask_logits=torch.zeros(1, 8, 8)))


@pytest.mark.parametrize(
    "frame", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)]
)
def test_arrays_that_are_no_frame_are_refused(frame: RgbFrame, compact: Models) -> None:
    with pytest.raises(InvalidInputError):
        compact.segmenter.encode(frame)


def test_click_disc_is_centred_on_the_click() -> None:
    disc = click_discs([Point(10.5, 7.5)], (20, 24), torch.device("cpu"))[0, 0]
    rows, columns = disc.nonzero(as_tuple=True)
    assert (rows.float().mean().item(), columns.float().mean().item()) == (7, 10)
    assert abs(disc.sum().item() - np.pi * DISC_RADIUS_PX**2) < 4


def test_missed_positive_click_in_an_empty_mask_gets_a_connected_spot() -> None:
    probability = np.full((200, 200), 0.01, np.float32)
    probability[90:110, 90:110] = 0.3
    mask = honour_clicks(np.zeros((200, 200), bool), probability, [Point(100.0, 100.0)])
    assert mask[100, 100]
    assert 1 < mask.sum() < 50


def test_missed_negative_click_is_cut_out_without_harming_a_neighbouring_positive_one() -> None:
    points = [Point(100.0, 100.0), Point(101.0, 100.0, False)]
    mask = honour_clicks(np.ones((200, 200), bool), np.full((200, 200), 0.9, np.float32), points)
    assert mask[100, 100]
    assert not mask[100, 101]
    assert mask.sum() > 200 * 200 - 50


def test_parts_without_a_click_are_dropped() -> None:
    mask = np.zeros((10, 10), bool)
    mask[1:3, 1:3] = mask[6:9, 6:9] = mask[1:3, 7:9] = True
    kept = connected_to_clicks(mask, [Point(1.0, 1.0), Point(7.5, 7.5), Point(8.0, 1.0, False)])
    assert kept[1:3, 1:3].all()
    assert kept[6:9, 6:9].all()
    assert kept.sum() == 4 + 9


def test_box_asks_for_its_centre_and_against_its_surroundings() -> None:
    centre, *around = box_clicks((20, 20, 60, 40), (100, 100))
    assert centre == Point(40, 30, True)
    assert len(around) == 8
    assert not any(p.positive or (20 <= p.x <= 60 and 20 <= p.y <= 40) for p in around)


def test_box_over_the_whole_frame_has_no_room_for_negative_clicks() -> None:
    assert box_clicks((0, 0, 100, 80), (80, 100)) == (Point(50, 40, True),)


def test_box_prior_is_the_box_at_the_padded_input() -> None:
    padding = Padding.to_stride((20, 40), 32)
    prior = box_prior((20, 10, 60, 30), (40, 80), (20, 40), padding, torch.device("cpu"))
    assert prior.shape == (1, 1, 32, 64)
    assert prior.sum() == 20 * 10
    assert padding.remove(prior)[0, 0, 5:15, 10:30].all()


def small_star() -> tuple[RgbFrame, BoolMask]:
    """A star of 28 pixels in a frame of 480x640 with a smooth texture."""
    noise = np.random.default_rng(0).integers(60, 160, (12, 16, 3), dtype=np.uint8)
    image = cv2.resize(noise, (640, 480), interpolation=cv2.INTER_CUBIC)
    angles = np.arange(10) * np.pi / 5
    radii = np.where(np.arange(10) % 2, 6.0, 14.0)
    corners = np.stack([400 + radii * np.cos(angles), 200 + radii * np.sin(angles)], 1).round().astype(np.int32)
    mask = np.zeros((480, 640), np.uint8)
    cv2.fillPoly(mask, [corners], 1)
    image[mask > 0] = (240, 200, 40)
    return image, mask > 0


def test_small_thing_is_cut_out_better_for_being_looked_at_again(
    compact: Models, iou: Iou, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, truth = small_star()
    embedding, prompts = compact.segmenter.encode(image), SegmenterPrompts(points=(Point(400.5, 200.5),))
    image[:] = 0  # the embedding keeps what it saw
    closer = compact.segmenter.segment(embedding, prompts)
    monkeypatch.setattr("tam_backend.models.segmenters.compact_segmenter.window_around", lambda mask, points: None)
    first = compact.segmenter.segment(embedding, prompts)
    assert iou(closer.mask, truth) > iou(first.mask, truth) + 0.03
    assert closer.logits.shape == first.logits.shape
