"""SAM behind the segmenter's protocol: the package's own answers, from tiny networks of the package's classes."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor
from segment_anything.modeling import Sam
from tiny_sam import lively_tiny_sam, tiny_sam
from torch import Tensor

from tam_backend.errors import InvalidInputError, InvalidPromptError, WeightsError
from tam_backend.models.protocols import FrameEmbedding, Segmentation, SegmenterPrompts
from tam_backend.models.published import PublishedFile
from tam_backend.models.sam_variants import SAM_VARIANTS, SamVariant, check_sam_layout
from tam_backend.models.segmenters.sam import SamSegmenter
from tam_backend.models.segmenters.sam_network import check_sam, load_sam
from tam_backend.types import Point, RgbFrame

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def sam() -> Sam:
    return lively_tiny_sam()


@pytest.fixture
def segmenter(sam: Sam) -> SamSegmenter:
    return SamSegmenter(copy.deepcopy(sam), "tiny", CPU, fast=False)


def frame_of(height: int, width: int) -> RgbFrame:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def predictor_of(sam: Sam, frame: RgbFrame) -> SamPredictor:
    predictor = SamPredictor(sam)
    predictor.set_image(frame)
    return predictor


CLICK = SegmenterPrompts(points=(Point(60.0, 40.0),))
CLICKS = SegmenterPrompts(points=(Point(60.0, 40.0), Point(20.0, 70.0, False)))
BOX = SegmenterPrompts(box=(20.0, 10.0, 110.0, 70.0))
BOX_AND_CLICK = SegmenterPrompts(points=(Point(70.0, 30.0, False),), box=(20.0, 10.0, 110.0, 70.0))


@pytest.mark.parametrize("size_hw", [(90, 160), (200, 120), (128, 128)])
@pytest.mark.parametrize("prompts", [CLICK, CLICKS, BOX, BOX_AND_CLICK], ids=["click", "clicks", "box", "both"])
def test_answers_are_those_of_the_package(
    sam: Sam, segmenter: SamSegmenter, size_hw: tuple[int, int], prompts: SegmenterPrompts
) -> None:
    frame = frame_of(*size_hw)
    answer = segmenter.segment(segmenter.encode(frame), prompts)
    masks, ious, logits = predictor_of(sam, frame).predict(
        point_coords=np.array([point[:2] for point in prompts.points]) if prompts.points else None,
        point_labels=np.array([int(point.positive) for point in prompts.points]) if prompts.points else None,
        box=None if prompts.box is None else np.array(prompts.box),
        multimask_output=prompts is CLICK,
    )
    best = int(ious.argmax())
    height, width = answer.logits.shape
    assert answer.mask.shape == size_hw and answer.mask.dtype == bool
    assert 0.02 < masks[best].mean() < 0.98, "this network says nothing"
    assert (answer.mask != masks[best]).mean() < 0.01
    assert np.abs(answer.logits.numpy() - logits[best][:height, :width]).max() < 0.02 * np.abs(logits[best]).max()
    assert answer.predicted_iou == pytest.approx(float(ious[best].clip(0, 1)), abs=5e-3)


def test_a_single_click_has_alternatives_best_first(segmenter: SamSegmenter) -> None:
    answer = segmenter.segment(segmenter.encode(frame_of(90, 160)), CLICK)
    readings = (answer, *answer.alternatives)
    assert len(readings) == 3
    assert [each.predicted_iou for each in readings] == sorted((each.predicted_iou for each in readings), reverse=True)
    assert len({each.mask.tobytes() for each in readings}) == 3


@pytest.mark.parametrize("prompts", [CLICKS, BOX, BOX_AND_CLICK])
def test_what_is_not_ambiguous_has_one_answer(segmenter: SamSegmenter, prompts: SegmenterPrompts) -> None:
    assert segmenter.segment(segmenter.encode(frame_of(90, 160)), prompts).alternatives == ()


def test_stability_is_the_iou_of_a_stricter_and_a_laxer_mask(sam: Sam, segmenter: SamSegmenter) -> None:
    frame = frame_of(128, 128)
    answer = segmenter.segment(segmenter.encode(frame), BOX)
    predictor = predictor_of(sam, frame)
    logits, _, _ = predictor.predict(box=np.array(BOX.box), multimask_output=False, return_logits=True)
    assert answer.stability == pytest.approx((logits > 1).sum() / (logits > -1).sum(), abs=0.02)


def test_logits_given_back_are_the_mask_prompt_of_the_package(sam: Sam, segmenter: SamSegmenter) -> None:
    frame = frame_of(128, 128)  # fills the square: no padding to disagree about
    embedding = segmenter.encode(frame)
    first = segmenter.segment(embedding, BOX)
    again = segmenter.segment(embedding, SegmenterPrompts(points=CLICK.points, mask_logits=first.logits))
    masks, _, _ = predictor_of(sam, frame).predict(
        point_coords=np.array([[60.0, 40.0]]),
        point_labels=np.array([1]),
        mask_input=first.logits.numpy()[None],
        multimask_output=False,
    )
    assert (again.mask != masks[0]).mean() < 0.01
    assert again.alternatives == ()


@pytest.mark.parametrize("mask_hw", [(18, 32), (90, 160), (7, 5), (720, 1280)])
def test_a_mask_of_any_size_covers_the_frame_and_not_the_padding(
    sam: Sam, mask_hw: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = SamSegmenter(network := copy.deepcopy(sam), "tiny", CPU, fast=False)
    seen: list[Tensor] = []
    monkeypatch.setattr(network.prompt_encoder.mask_downscaling, "forward", _remember(network, seen))
    logits = torch.full(mask_hw, -4.0)
    logits[:, : mask_hw[1] // 2] = 6.0
    segmenter.segment(segmenter.encode(frame_of(90, 160)), SegmenterPrompts(mask_logits=logits))
    [given] = seen
    assert given.shape == (1, 1, 32, 32)
    assert (given[0, 0, :18, : 32 * (mask_hw[1] // 2) // mask_hw[1] - 4] > 5.9).all()
    assert (given[0, 0, :18, 32 * (mask_hw[1] // 2) // mask_hw[1] + 8 :] < 0).all()
    assert (given[0, 0, 18:] <= -4 + 1e-4).all()


def _remember(network: Sam, seen: list[Tensor]) -> Callable[[Tensor], Tensor]:
    original = network.prompt_encoder.mask_downscaling.forward

    def forward(masks: Tensor) -> Tensor:
        seen.append(masks)
        answer: Tensor = original(masks)
        return answer

    return forward


def test_a_mask_alone_is_a_prompt(segmenter: SamSegmenter) -> None:
    answer = segmenter.segment(segmenter.encode(frame_of(90, 160)), SegmenterPrompts(mask_logits=torch.ones(9, 16)))
    assert answer.mask.shape == (90, 160)


@pytest.mark.parametrize(
    "prompts",
    [
        SegmenterPrompts(),
        SegmenterPrompts(points=(Point(1.0, 1.0, False),)),
        SegmenterPrompts(mask_logits=torch.zeros(1, 4, 4)),
        SegmenterPrompts(mask_logits=torch.zeros(0, 4)),
        SegmenterPrompts(mask_logits=torch.full((4, 4), torch.nan)),
    ],
)
def test_prompts_that_say_nothing_are_refused(segmenter: SamSegmenter, prompts: SegmenterPrompts) -> None:
    with pytest.raises(InvalidPromptError):
        segmenter.segment(segmenter.encode(frame_of(90, 160)), prompts)


@pytest.mark.parametrize(
    "frame", [np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)]
)
def test_what_is_no_frame_is_refused(segmenter: SamSegmenter, frame: RgbFrame) -> None:
    with pytest.raises(InvalidInputError, match="uint8 RGB"):
        segmenter.encode(frame)


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 700), (700, 1), (2000, 3000)])
def test_frames_of_any_size_are_answered_at_their_size(segmenter: SamSegmenter, size_hw: tuple[int, int]) -> None:
    embedding = segmenter.encode(frame_of(*size_hw))
    answer = segmenter.segment(embedding, SegmenterPrompts(points=(Point(0.0, 0.0),)))
    assert answer.mask.shape == size_hw
    back = SegmenterPrompts(points=(Point(0.0, 0.0),), mask_logits=answer.logits)
    assert segmenter.segment(embedding, back).mask.shape == size_hw


def test_an_embedding_is_small_and_can_be_asked_again_with_the_same_answer(segmenter: SamSegmenter) -> None:
    embedding = segmenter.encode(frame_of(90, 160))
    assert {name: tensor.dtype for name, tensor in embedding.features.items()} == {"image": torch.float16}
    first, second = (segmenter.segment(embedding, CLICK) for _ in range(2))
    assert _same(first, second)
    assert _same(first, segmenter.segment(_copied(embedding), CLICK))


def test_half_precision_of_the_embedding_costs_nothing(sam: Sam, segmenter: SamSegmenter) -> None:
    embedding = segmenter.encode(frame_of(90, 160))
    exact = FrameEmbedding(
        embedding.size_hw, embedding.input_hw, {"image": predictor_of(sam, frame_of(90, 160)).get_image_embedding()}
    )
    for prompts in (CLICK, CLICKS, BOX, BOX_AND_CLICK):
        a, b = segmenter.segment(embedding, prompts), segmenter.segment(exact, prompts)
        assert (a.mask & b.mask).sum() / max(1, (a.mask | b.mask).sum()) > 0.99


def test_the_fast_way_gives_nearly_the_same_masks(sam: Sam, segmenter: SamSegmenter) -> None:
    fast = SamSegmenter(copy.deepcopy(sam), "tiny", CPU)
    a, b = (each.segment(each.encode(frame_of(90, 160)), BOX).mask for each in (segmenter, fast))
    assert (a & b).sum() / (a | b).sum() > 0.9


def test_a_network_is_named_by_its_version(segmenter: SamSegmenter) -> None:
    assert segmenter.name == "tiny"


# --- its weights


@pytest.fixture
def tiny_file(sam: Sam, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state dict of the tiny network, registered like any other SAM-shaped one."""
    file = PublishedFile("tiny.pth", "https://nowhere.invalid/tiny.pth", "tiny", check_sam_layout)
    row = SamVariant("tiny", file, tiny_sam)
    monkeypatch.setitem(SAM_VARIANTS, row.name, row)
    path = tmp_path / "tiny.pth"
    torch.save(sam.state_dict(), path)
    return path


def test_a_loaded_network_answers_like_the_one_that_was_saved(sam: Sam, tiny_file: Path) -> None:
    loaded = SamSegmenter(load_sam(tiny_file, SAM_VARIANTS["tiny"], CPU), "tiny", CPU, fast=False)
    saved = SamSegmenter(copy.deepcopy(sam), "tiny", CPU, fast=False)
    assert _same(*(each.segment(each.encode(frame_of(90, 160)), BOX) for each in (loaded, saved)))


def test_weights_in_half_precision_become_float32(sam: Sam, tiny_file: Path) -> None:
    torch.save({name: tensor.half() for name, tensor in sam.state_dict().items()}, tiny_file)
    loaded = load_sam(tiny_file, SAM_VARIANTS["tiny"], CPU)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda state: state.pop("image_encoder.pos_embed"), "image_encoder.pos_embed is missing"),
        (lambda state: state.update(aardvark=torch.zeros(1)), "aardvark is unexpected"),
        (
            lambda state: state.update({"mask_decoder.iou_token.weight": torch.zeros(1, 7)}),
            r"mask_decoder.iou_token.weight has shape \(1, 7\), not \(1, 32\)",
        ),
    ],
)
@pytest.mark.parametrize("look", [check_sam, lambda path, variant: load_sam(path, variant, CPU)])
def test_weights_of_another_network_name_the_first_mismatch(  # type: ignore[no-untyped-def]
    sam: Sam, tiny_file: Path, change, says: str, look
) -> None:
    state = dict(sam.state_dict())
    change(state)
    torch.save(state, tiny_file)
    with pytest.raises(WeightsError, match=says):
        look(tiny_file, SAM_VARIANTS["tiny"])


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"<html>", pickle.dumps([1, 2], protocol=2)])
def test_what_is_no_state_dict_is_refused(tiny_file: Path, content: bytes) -> None:
    tiny_file.write_bytes(content)
    with pytest.raises(WeightsError, match=r"tiny\.pth"):
        check_sam(tiny_file, SAM_VARIANTS["tiny"])


def test_nothing_in_a_file_of_weights_is_run(tiny_file: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (tiny_file.with_name("exploded"),)

    torch.save({"image_encoder.pos_embed": Bomb()}, tiny_file)
    with pytest.raises(WeightsError):
        load_sam(tiny_file, SAM_VARIANTS["tiny"], CPU)
    assert not tiny_file.with_name("exploded").exists()


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"nothing\.pth"):
        load_sam(tmp_path / "nothing.pth", SAM_VARIANTS["vit_b"], CPU)


def _same(one: Segmentation, other: Segmentation) -> bool:
    return bool(np.array_equal(one.mask, other.mask)) and torch.equal(one.logits, other.logits)


def _copied(embedding: FrameEmbedding) -> FrameEmbedding:
    features = {name: tensor.clone() for name, tensor in embedding.features.items()}
    return FrameEmbedding(embedding.size_hw, embedding.input_hw, features)
