"""The editor's video frames and the file's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tam_backend.labelstudio.video_clock import VideoClock
from tam_backend.types import Timeline

rates = st.sampled_from([1.0, 10.0, 12.5, 23.976, 24.0, 24000 / 1001, 25.0, 29.97, 30000 / 1001, 30.0, 50.0, 60.0])
lengths = st.integers(1, 5000)


@given(rates, lengths)
def test_equal_rates_count_alike(rate, length):
    clock = VideoClock(rate, rate, length)
    assert clock.frames_count == length
    for index in {0, length // 3, length - 1}:
        assert clock.index_of_video_frame(index + 1) == index


@given(lengths, st.floats(-2e-5, 2e-5))
def test_a_files_rounded_rate_shifts_no_frame(length, error):
    clock = VideoClock(25, 25 * (1 + error), length)
    assert clock.index_of_video_frame(length) == length - 1


@given(rates, rates, lengths, st.floats(0, 1))
def test_a_frame_of_the_editor_is_what_the_file_shows_at_its_time(tag_rate, file_fps, length, where):
    clock = VideoClock(tag_rate, file_fps, length)
    frame = 1 + min(int(where * clock.frames_count), clock.frames_count - 1)
    index = clock.index_of_video_frame(frame)
    if clock.frames_count == length:
        assert index == frame - 1
    elif index < length - 1:  # the editor may count a last frame that begins where the file ends
        shown_at = (frame - 1) / tag_rate * file_fps  # in frames of the file
        assert index <= shown_at + 0.002 and shown_at < index + 1


@given(rates, rates, lengths)
def test_frames_keep_their_order_and_range(tag_rate, file_fps, length):
    clock = VideoClock(tag_rate, file_fps, length)
    frames = range(-3, min(clock.frames_count, 400) + 3)
    indices = [clock.index_of_video_frame(frame) for frame in frames]
    assert indices == sorted(indices)
    assert 0 <= indices[0] <= indices[-1] < length


def test_half_the_rate_shows_every_second_frame():
    clock = VideoClock(15, 30, 300)
    assert clock.frames_count == 150
    assert [clock.index_of_video_frame(frame) for frame in (1, 2, 3)] == [0, 2, 4]
    assert clock.duration_s == pytest.approx(10)


def test_a_file_without_a_clock_counts_as_the_tag_does():
    clock = VideoClock(24, None, 48)
    assert (clock.frames_count, clock.duration_s, clock.index_of_video_frame(48)) == (48, 2, 47)


def test_an_uneven_file_is_shown_by_its_frames_own_times():
    starts = np.array([0.04 * i if i < 24 else 0.96 + 0.2 * (i - 24) for i in range(48)])
    clock = VideoClock(25, 48 / 5.76, 48, Timeline(starts, 5.76))
    assert (clock.frames_count, clock.duration_s) == (144, pytest.approx(5.76))
    assert [clock.index_of_video_frame(frame) for frame in (1, 24, 25, 29, 30, 34, 35, 144, 999)] == [
        0, 23, 24, 24, 25, 25, 26, 47, 47,
    ]  # fmt: skip


def test_a_file_that_begins_late_shows_its_first_frame_until_then():
    clock = VideoClock(25, 25, 36, Timeline(1 + np.arange(36) / 25, 2.44))
    assert clock.frames_count == 61
    assert [clock.index_of_video_frame(frame) for frame in (1, 25, 26, 27, 28, 61)] == [0, 0, 0, 1, 2, 35]


@given(rates, lengths, st.sampled_from([1e-3, 1e-5]))
def test_a_steady_file_counts_exactly_however_its_container_rounds(rate, length, tick):
    starts = np.round(np.arange(length) / rate / tick) * tick
    clock = VideoClock(rate, rate, length, Timeline(starts, length / rate))
    assert clock.frames_count == length
    for index in {0, length // 3, length - 1}:
        assert clock.index_of_video_frame(index + 1) == index
