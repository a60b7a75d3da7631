"""The editor's video frames and the file's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tam_backend.labelstudio.video_clock import VideoClock

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
