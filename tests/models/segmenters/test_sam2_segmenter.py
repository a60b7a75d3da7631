"""SAM 2.1 as a segmenter: the same answers as the package's predictor, on random weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

pytest.importorskip("sam2", reason="an extra")

from sam2.modeling.sam2_base import SAM2Base
from sam2.sam2_image_predictor import SAM2ImagePredictor

from benchmarks.lively_sam2 import SIDE, enliven, tiny_sam2
from tam_backend.errors import InvalidInputError, InvalidPromptError
from tam_backend.models.protocols import SegmenterPrompts
from tam_backend.models.segmenters.sam2_segmenter import Sam2Segmenter
from tam_backend.types import Point, RgbFrame

CPU = torch.device("cpu")
ONE = SegmenterPrompts(points=(Point(20, 30),))
TWO = SegmenterPrompts(points=(Point(20, 30), Point(120.5, 60.25, False)))
BOX = SegmenterPrompts(box=(20, 30, 60, 70))
BOX_AND_POINT = SegmenterPrompts(box=(20, 30, 60, 70), points=(Point(33, 40),))


@pytest.fixture(scope="module")
def network() -> SAM2Base:
    return enliven(tiny_sam2())


@pytest.fixture(scope="module")
def segmenter(network: SAM2Base) -> Sam2Segmenter:
    return Sam2Segmenter(network, "tiny", CPU, fast=False)


def frame_of(height: int, width: int) -> RgbFrame:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


def package_s(
    network: SAM2Base, frame: RgbFrame, prompts: SegmenterPrompts
) -> tuple[NDArray[np.bool_], NDArray[np.float32], NDArray[np.float32]]:
    """Return the package's masks, predicted IoUs and logits, best first."""
    predictor = SAM2ImagePredictor(network)
    predictor._bb_feat_sizes = [(SIDE // stride, SIDE // stride) for stride in (4, 8, 16)]  # written down for 1024
    predictor.set_image(frame)
    masks, ious, logits = predictor.predict(
        point_coords=np.array([[p.x, p.y] for p in prompts.points]) if prompts.points else None,
        point_labels=np.array([int(p.positive) for p in prompts.points]) if prompts.points else None,
        box=None if prompts.box is None else np.array(prompts.box),
        mask_input=None if prompts.mask_logits is None else prompts.mask_logits[None].numpy(),
        multimask_output=prompts == ONE,
    )
    order = np.argsort(-ious)
    return masks[order] > 0, ious[order], logits[order]


@pytest.mark.parametrize("size_hw", [(90, 160), (160, 90), (SIDE, SIDE), (300, 200)])
@pytest.mark.parametrize("prompts", [ONE, TWO, BOX, BOX_AND_POINT])
def test_answers_are_those_of_the_package_s_predictor(
    network: SAM2Base, segmenter: Sam2Segmenter, size_hw: tuple[int, int], prompts: SegmenterPrompts
) -> None:
    frame = frame_of(*size_hw)
    answer = segmenter.segment(segmenter.encode(frame), prompts)
    masks, ious, logits = package_s(network, frame, prompts)
    readings = (answer, *answer.alternatives)
    assert len(readings) == len(masks) == (3 if prompts == ONE else 1)
    for reading, mask, iou, logit in zip(readings, masks, ious, logits, strict=True):
        assert reading.mask.shape == size_hw
        assert np.mean(reading.mask != mask) < 1e-3
        assert reading.predicted_iou == pytest.approx(float(iou), abs=1e-4)
        np.testing.assert_allclose(reading.logits.numpy(), logit, atol=1e-2)
        assert reading.stability is not None and 0 <= reading.stability <= 1


def test_an_answer_given_back_as_a_mask_prompt_is_taken_as_the_package_takes_it(
    network: SAM2Base, segmenter: Sam2Segmenter
) -> None:
    frame = frame_of(90, 160)
    embedding = segmenter.encode(frame)
    first = segmenter.segment(embedding, BOX)
    prompts = SegmenterPrompts(points=TWO.points, mask_logits=first.logits)
    masks, _, _ = package_s(network, frame, prompts)
    assert np.mean(segmenter.segment(embedding, prompts).mask != masks[0]) < 1e-3


def test_a_mask_prompt_of_any_size_will_do_and_matters(segmenter: Sam2Segmenter) -> None:
    embedding = segmenter.encode(frame_of(90, 160))
    given = torch.full((45, 80), -8.0)
    given[10:30, 20:60] = 8.0
    with_mask = segmenter.segment(embedding, SegmenterPrompts(points=TWO.points, mask_logits=given))
    assert with_mask.logits.shape == (SIDE // 4, SIDE // 4)
    assert not torch.equal(with_mask.logits, segmenter.segment(embedding, TWO).logits)
    alone = segmenter.segment(embedding, SegmenterPrompts(mask_logits=given))
    assert alone.mask.shape == (90, 160)


def test_one_embedding_answers_again_and_again_alike(segmenter: Sam2Segmenter) -> None:
    embedding = segmenter.encode(frame_of(90, 160))
    kept = {name: tensor.clone() for name, tensor in embedding.features.items()}
    one, _, again = (segmenter.segment(embedding, prompts) for prompts in (ONE, BOX, ONE))
    assert torch.equal(one.logits, again.logits)
    assert all(torch.equal(tensor, kept[name]) for name, tensor in embedding.features.items())


def test_the_quick_way_keeps_half_precision_and_the_mask(network: SAM2Base, segmenter: Sam2Segmenter) -> None:
    quick, frame = Sam2Segmenter(network, "tiny", CPU), frame_of(90, 160)
    embedding = quick.encode(frame)
    assert {tensor.dtype for tensor in embedding.features.values()} == {torch.float16}
    exact = segmenter.segment(segmenter.encode(frame), BOX).mask
    assert np.mean(quick.segment(embedding, BOX).mask != exact) < 0.03


@pytest.mark.parametrize(
    "prompts", [SegmenterPrompts(), SegmenterPrompts(points=(Point(5, 5, False),))], ids=["none", "negative"]
)
def test_prompts_that_do_not_say_where_the_object_is_are_refused(
    segmenter: Sam2Segmenter, prompts: SegmenterPrompts
) -> None:
    with pytest.raises(InvalidPromptError, match="where the object is"):
        segmenter.segment(segmenter.encode(frame_of(90, 160)), prompts)


@pytest.mark.parametrize("logits", [torch.zeros(3), torch.full((4, 4), torch.nan)])
def test_logits_that_are_no_mask_are_refused(segmenter: Sam2Segmenter, logits: torch.Tensor) -> None:
    with pytest.raises(InvalidPromptError):
        segmenter.segment(segmenter.encode(frame_of(90, 160)), SegmenterPrompts(mask_logits=logits))


def test_what_is_no_frame_is_refused(segmenter: Sam2Segmenter) -> None:
    with pytest.raises(InvalidInputError):
        segmenter.encode(np.zeros((4, 4), np.uint8))
