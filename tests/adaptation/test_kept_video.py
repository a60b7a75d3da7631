"""What is kept of a video is small, bounded, and only what can be used."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from labeled_discs import labeled_discs
from synthetic import MovingDiscs

from tam_backend.adaptation.kept_video import SHORTER_SIDE, KeptVideo, evenly, keep, newest
from tam_backend.adaptation.labeled import LabeledVideo
from tam_backend.adaptation.outcome import AdaptationLimits
from tam_backend.errors import UnreadableMediaError
from tam_backend.types import RgbFrame


def test_labeled_frames_are_kept_and_some_between_them() -> None:
    kept = keep(labeled_discs("discs", [0, 9]), 2**30, [])
    assert list(kept.ids) == [0, 9]
    assert list(kept.frames) == [0, 3, 6, 9]
    assert np.array_equal(kept.frames[3], MovingDiscs()[3])


def test_large_frames_are_kept_small() -> None:
    video = MovingDiscs(height=2 * SHORTER_SIDE, width=3 * SHORTER_SIDE, frames=2)
    kept = keep(LabeledVideo("large", video, {0: video.truth(0).astype(np.uint8)}), 2**30, [])
    assert kept.frames[0].shape == (SHORTER_SIDE, SHORTER_SIDE * 3 // 2, 3)
    assert kept.ids[0].shape == kept.frames[0].shape[:2]
    assert kept.ids[0].any()


def test_memory_bounds_how_many_frames_are_kept() -> None:
    bound = 6 * 96 * 128 * 10
    kept = keep(labeled_discs("discs", range(12)), bound, [])
    assert sum(each.nbytes for each in (*kept.frames.values(), *kept.ids.values())) <= bound
    assert {0, 11} <= kept.ids.keys()


def sizes(kept: list[KeptVideo]) -> int:
    return sum(part.nbytes for each in kept for part in (*each.frames.values(), *each.ids.values()))


@given(st.integers(0, 30), st.integers(0, 2**20), st.integers(1, 100))
def test_many_videos_never_take_more_than_the_memory(count: int, memory_bytes: int, seconds: int) -> None:
    videos, notes = [labeled_discs(f"discs {number}", [0, 9]) for number in range(count)], list[str]()
    limits = AdaptationLimits(seconds, memory_bytes)
    taken = newest(videos, limits, notes)
    assert taken == videos[count - len(taken) :], "the newest, in their order"
    kept = [keep(each, memory_bytes // len(taken), []) for each in taken]
    assert sizes(kept) <= memory_bytes
    assert all(len(each.ids) == 2 for each in kept), "there is something to learn from each"
    assert len(taken) <= limits.most_videos
    assert len(notes) == (len(taken) < count)


def test_what_there_is_no_room_for_is_said() -> None:
    notes: list[str] = []
    videos = [labeled_discs(f"discs {number}", [0, 9]) for number in range(5)]
    assert len(newest(videos, AdaptationLimits(memory_bytes=3 * 2 * 96 * 128 * 10), notes)) == 3
    assert notes == ["Only the videos of the newest tasks are taken, 3 of them; there is no room for 2 older ones."]


def test_objects_are_numbered_from_one_whatever_their_ids_are() -> None:
    video = MovingDiscs()
    masks = {at: np.where(video.truth(at), 70_000, 0) for at in (0, 4)}
    kept = keep(LabeledVideo("ids", video, masks), 2**30, [])
    assert {int(each) for ids in kept.ids.values() for each in np.unique(ids)} == {0, 1}


def test_a_mask_of_another_size_is_left_out_and_said() -> None:
    labeled = labeled_discs("discs", [0, 4])
    notes: list[str] = []
    kept = keep(LabeledVideo("discs", labeled.video, {**labeled.masks, 6: np.zeros((5, 7), int)}), 2**30, notes)
    assert list(kept.ids) == [0, 4]
    assert notes == ["discs: 1 labeled frames were left out (frame 6: its mask is 7x5, not 128x96)."]


@dataclass
class TornVideo(MovingDiscs):
    def __getitem__(self, index: int) -> RgbFrame:
        if index in (2, 3):
            raise UnreadableMediaError(f"Frame {index} is damaged.")
        return super().__getitem__(index)


def test_a_frame_that_cannot_be_read_is_left_out_and_said() -> None:
    labeled, notes = labeled_discs("torn", [0, 2, 8]), []
    kept = keep(LabeledVideo("torn", TornVideo(), labeled.masks), 2**30, notes)
    assert list(kept.ids) == [0, 8]
    assert "frame 2: Frame 2 is damaged" in notes[0]


def test_other_labels_have_another_digest() -> None:
    one, other = (keep(labeled_discs("discs", frames), 2**30, []) for frames in ([0, 4], [0, 5]))
    assert one.digest() != other.digest()
    assert one.digest() == keep(labeled_discs("discs", [0, 4]), 2**30, []).digest()


@given(st.lists(st.integers(0, 500), unique=True, min_size=2).map(sorted), st.integers(2, 20))
def test_evenly_keeps_both_ends_and_no_more_than_asked(frames: list[int], most: int) -> None:
    kept = evenly(frames, most)
    assert len(kept) == min(len(frames), most)
    assert (kept[0], kept[-1]) == (frames[0], frames[-1])
    assert set(kept) <= set(frames)
