"""SAM 2.1's tracker against the package's own video predictor, on the same random weights and the same frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

pytest.importorskip("sam2", reason="an extra")

from sam2.modeling.sam2_base import SAM2Base
from sam2.sam2_video_predictor import SAM2VideoPredictor
from synthetic import MovingDiscs

from benchmarks.lively_sam2 import SIDE, enliven, tiny_config, tiny_sam2
from tam_backend.models.memory_reading.aggregation import soft_aggregate
from tam_backend.models.sam2_network import network_of
from tam_backend.models.sam2_tracker.object_memory import MOST_KEYFRAMES
from tam_backend.models.sam2_tracker.sam2_tracker import Sam2Tracker
from tam_backend.types import BoolMask

CPU = torch.device("cpu")
FRAMES = 30
CELLS = (SIDE // 16) ** 2

Masks = Mapping[int, Mapping[int, BoolMask]]  # frame -> object -> mask


@pytest.fixture(scope="module")
def network() -> SAM2Base:
    return enliven(tiny_sam2())


@pytest.fixture(scope="module")
def predictor() -> SAM2VideoPredictor:
    """The package's own way with the same weights. Its extension in CUDA, which fills holes, is not built."""
    made = network_of({**tiny_config(), "_target_": "sam2.sam2_video_predictor.SAM2VideoPredictor"})
    assert isinstance(made, SAM2VideoPredictor)
    enliven(made)
    return made


@pytest.fixture(scope="module")
def images() -> list[Tensor]:
    """Frames of the network's own size, so that neither way resizes."""
    video = MovingDiscs(frames=FRAMES, starts_xy=((30, 40), (90, 60)), steps_xy=((2, 1), (-2, 1)), height=SIDE)
    return [torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1).float() / 255 for frame in video]


def box(x0: int, y0: int, x1: int, y1: int) -> BoolMask:
    mask = np.zeros((SIDE, SIDE), np.bool_)
    mask[y0:y1, x0:x1] = True
    return mask


def packages_masks(
    predictor: SAM2VideoPredictor, images: Sequence[Tensor], given: Masks, *, start: int = 0, reverse: bool = False
) -> Iterator[tuple[int, dict[int, BoolMask]]]:
    """Track with the package; yields its masks as it gives them, but disjoint by our rule (`soft_aggregate`)."""
    state = _state(predictor, images)
    for frame, masks in given.items():
        for object_id, mask in masks.items():
            predictor.add_new_mask(state, frame, object_id, mask)
    for frame, ids, logits in predictor.propagate_in_video(state, start_frame_idx=start, reverse=reverse):
        winner = soft_aggregate(logits[:, 0]).argmax(0).numpy()
        yield frame, {object_id: winner == i for i, object_id in enumerate(ids, start=1)}


def _state(predictor: SAM2VideoPredictor, images: Sequence[Tensor]) -> dict[str, Any]:
    """Open a video that is in memory; the package itself opens only files of JPEG, which change the pixels."""
    mean, std = (torch.tensor(each)[:, None, None] for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            "sam2.sam2_video_predictor.load_video_frames",
            lambda **_: ([(image - mean) / std for image in images], SIDE, SIDE),
        )
        state: dict[str, Any] = predictor.init_state("in memory")
    return state


def our_masks(
    tracker: Sam2Tracker, images: Sequence[Tensor], given: Masks, order: Sequence[int]
) -> Iterator[tuple[int, dict[int, BoolMask]]]:
    """Track with ours."""
    for frame in order:
        masks = given.get(frame, {})
        index = torch.zeros(SIDE, SIDE, dtype=torch.int64)
        for object_id, mask in masks.items():
            index[torch.from_numpy(mask)] = object_id
        step = tracker.track(images[frame], index if masks else None, sorted(masks) or None)
        winner = step.probabilities.argmax(0).numpy()
        yield frame, {object_id: winner == i for i, object_id in enumerate(step.object_ids, start=1)}


def iou(one: BoolMask, other: BoolMask) -> float:
    union = int((one | other).sum())
    return float((one & other).sum() / union) if union else 1.0


def assert_alike(ours: Masks, theirs: Masks, given: Masks) -> None:
    """Predicted masks are the package's, and do something.

    A given mask is ours to the pixel, while the package answers with what is left of it at a quarter of its size.
    """
    areas = []
    for frame, masks in ours.items():
        for object_id, mask in masks.items():
            if object_id in given.get(frame, {}):
                assert np.array_equal(mask, given[frame][object_id])
            else:
                assert iou(mask, theirs[frame][object_id]) >= 0.99, f"object {object_id}, frame {frame}"
                areas.append(float(mask.mean()))
    assert 0.002 < np.mean(areas) < 0.9 and len(set(areas)) > len(areas) / 2, "masks live"


def test_one_object_is_followed_as_by_the_package(
    network: SAM2Base, predictor: SAM2VideoPredictor, images: list[Tensor]
) -> None:
    given = {0: {1: box(20, 30, 45, 52)}}
    ours = dict(our_masks(Sam2Tracker(network, CPU, fast=False), images, given, range(FRAMES)))
    assert_alike(ours, dict(packages_masks(predictor, images, given)), given)


def test_several_objects_are_followed_as_by_the_package(
    network: SAM2Base, predictor: SAM2VideoPredictor, images: list[Tensor]
) -> None:
    given = {0: {1: box(20, 30, 45, 52), 2: box(75, 50, 110, 80)}}
    ours = dict(our_masks(Sam2Tracker(network, CPU, fast=False), images, given, range(FRAMES)))
    assert_alike(ours, dict(packages_masks(predictor, images, given)), given)


def test_a_later_keyframe_is_read_beforehand_as_by_the_package(
    network: SAM2Base, predictor: SAM2VideoPredictor, images: list[Tensor]
) -> None:
    first, later = {0: {1: box(20, 30, 45, 52)}}, {25: {1: box(70, 60, 95, 80)}}
    tracker = Sam2Tracker(network, CPU, fast=False)
    ours = dict(our_masks(tracker, images, first, [0]))
    tracker.memorise(images[25], torch.from_numpy(later[25][1].astype(np.int64)))
    ours.update(our_masks(tracker, images, {}, range(1, 25)))
    theirs = dict(packages_masks(predictor, images, {**first, **later}))
    assert_alike(ours, {frame: theirs[frame] for frame in ours}, first)


def test_backward_is_forward_in_the_other_direction_as_in_the_package(
    network: SAM2Base, predictor: SAM2VideoPredictor, images: list[Tensor]
) -> None:
    start = FRAMES - 1
    given = {start: {3: box(60, 50, 100, 90)}}
    ours = dict(our_masks(Sam2Tracker(network, CPU, fast=False), images, given, range(start, -1, -1)))
    assert_alike(ours, dict(packages_masks(predictor, images, given, start=start, reverse=True)), given)


def test_an_object_that_is_said_to_be_gone_is_remembered_as_gone_as_in_the_package(
    network: SAM2Base, predictor: SAM2VideoPredictor, images: list[Tensor]
) -> None:
    nothing = np.zeros((SIDE, SIDE), np.bool_)
    first, gone = {0: {1: box(20, 30, 45, 52)}}, {10: {1: nothing}}
    tracker = Sam2Tracker(network, CPU, fast=False)
    ours = dict(our_masks(tracker, images, first, [0]))
    tracker.memorise(images[10], torch.zeros(SIDE, SIDE, dtype=torch.int64), [1])
    ours.update(our_masks(tracker, images, {}, range(1, 10)))
    theirs = dict(packages_masks(predictor, images, {**first, **gone}))
    assert_alike(ours, {frame: theirs[frame] for frame in ours}, first)


def test_memory_is_bounded_by_keyframes_and_the_last_frames(network: SAM2Base) -> None:
    tracker = Sam2Tracker(network, CPU, fast=False)
    image = torch.rand(3, 24, 32, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(24, 32, dtype=torch.int64)
    mask[4:12, 4:12] = 1
    held = []
    for index in range(60):
        tracker.track(image, mask if index < 20 else None)
        held.append(tracker.memory_elements)
    recent = network.num_maskmem - 1
    assert held[19] == MOST_KEYFRAMES * CELLS
    assert held[-1] == max(held) == (MOST_KEYFRAMES + recent) * CELLS


def test_the_quick_way_tracks_nearly_the_same(network: SAM2Base, images: list[Tensor]) -> None:
    given = {0: {1: box(20, 30, 45, 52)}}
    exact, quick = (
        dict(our_masks(Sam2Tracker(network, CPU, fast=fast), images, given, range(5))) for fast in (False, True)
    )
    assert all(iou(exact[frame][1], quick[frame][1]) > 0.8 for frame in exact)


def test_nothing_of_a_pass_is_kept_in_the_network(network: SAM2Base, images: list[Tensor], tmp_path: Path) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    dict(our_masks(Sam2Tracker(network, CPU, fast=False), images, {0: {1: box(20, 30, 45, 52)}}, range(3)))
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
