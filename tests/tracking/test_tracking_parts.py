"""Small parts of tracking: the fair lock, scaling, the spool."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tam_backend.threads.fair_lock import FairLock
from tam_backend.tracking.scaling import Scaling
from tam_backend.tracking.spool import MaskSpool
from tam_backend.types import Mask

CPU = torch.device("cpu")


def test_the_lock_serves_in_the_order_of_asking_even_against_a_greedy_loop() -> None:
    lock, turns, stop = FairLock(), [], threading.Event()

    def greedy() -> None:
        while not stop.is_set():
            with lock:
                turns.append("greedy")

    thread = threading.Thread(target=greedy)
    thread.start()
    for _ in range(50):
        with lock:
            turns.append("polite")
    stop.set()
    thread.join()
    assert turns.count("polite") == 50


def test_the_lock_excludes() -> None:
    lock, inside, worst = FairLock(), [], []

    def work() -> None:
        for _ in range(200):
            with lock:
                inside.append(1)
                worst.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(worst) == 1
    assert len(worst) == 800


@pytest.mark.parametrize(
    ("original_hw", "working_hw"),
    [((720, 1280), (480, 853)), ((240, 320), (480, 640)), ((853, 480), (853, 480)), ((1, 1), (480, 480))],
)
def test_the_shorter_side_becomes_the_profiles(original_hw: tuple[int, int], working_hw: tuple[int, int]) -> None:
    scaling = Scaling(original_hw, 480, CPU)
    assert scaling.working_hw == working_hw
    assert scaling.image(np.zeros((*original_hw, 3), np.uint8)).shape == (3, *working_hw)


def test_a_panorama_is_kept_to_a_bounded_number_of_pixels() -> None:
    height, width = Scaling((100, 20_000), 480, CPU).working_hw
    assert height * width <= 4.05 * 480 * 480


def test_masks_go_down_and_up_again_nearly_unchanged() -> None:
    scaling = Scaling((200, 300), 100, CPU)
    yy, xx = np.mgrid[:200, :300]
    mask = (yy - 100) ** 2 + (xx - 140) ** 2 < 50**2
    index = scaling.index_mask({3: mask})
    assert set(index.unique().tolist()) == {0, 3}
    one_hot = torch.stack([index == 0, index == 3]).float()
    back = scaling.labels(one_hot).numpy() == 1
    assert np.count_nonzero(back ^ mask) / mask.sum() < 0.03


def test_an_object_smaller_than_a_working_pixel_is_not_lost() -> None:
    mask = np.zeros((1000, 1000), bool)
    mask[501, 501] = True
    assert (Scaling((1000, 1000), 100, CPU).index_mask({1: mask}) == 1).any()


def test_each_pixel_goes_to_the_most_probable_object() -> None:
    probabilities = torch.zeros(3, 4, 4)
    probabilities[0] = 0.3
    probabilities[1, :, :2] = 0.6
    probabilities[2, :, 1:] = 0.5
    labels = Scaling((4, 4), 4, CPU).labels(probabilities)
    assert (labels[:, :2] == 1).all() and (labels[:, 2:] == 2).all()
    probabilities[0, 0] = probabilities[1, 3] = probabilities[2, 3] = 0.7
    assert Scaling((4, 4), 4, CPU).labels(probabilities)[[0, 3]].tolist() == [[0] * 4, [1] * 4]  # the first of equals
    assert (Scaling((4, 4), 4, CPU).labels(torch.full((3, 4, 4), torch.nan)) == 0).all()


def test_more_objects_than_a_byte_can_tell_are_told_apart() -> None:
    probabilities = torch.eye(301)[:, :300].view(301, 15, 20)
    assert torch.equal(Scaling((15, 20), 15, CPU).labels(probabilities).flatten().long(), torch.arange(300))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 3), st.integers(0, 2**32 - 1)), max_size=12))
def test_the_spool_hands_out_what_was_put_in(puts: list[tuple[int, int, int]]) -> None:
    expected: dict[int, dict[int, np.ndarray]] = {}
    with MaskSpool((9, 13)) as spool:
        for frame, object_id, seed in puts:
            mask = np.random.default_rng(seed).random((9, 13)) > 0.5
            expected.setdefault(frame, {})[object_id] = mask
            spool.put(frame, object_id, Mask(mask, 0.25))
        for frame in range(6):
            taken = spool.take(frame)
            assert taken.keys() == expected.get(frame, {}).keys()
            assert all(np.array_equal(taken[each].array, mask) for each, mask in expected.get(frame, {}).items())
            assert all(mask.quality == 0.25 for mask in taken.values())
            assert spool.take(frame) == {}
