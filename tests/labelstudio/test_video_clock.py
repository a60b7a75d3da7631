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
        assert clock.video_frame_of_index(index) == index + 1
        assert clock.index_of_video_frame(index + 1) == index


@given(lengths, st.floats(-2e-5, 2e-5))
def test_a_files_rounded_rate_shifts_no_frame(length, error):
    clock = VideoClock(25, 25 * (1 + error), length)
    assert clock.index_of_video_frame(length) == length - 1


@given(rates, rates, lengths, st.floats(0, 1))
def test_the_way_back_is_exact_towards_the_faster_clock(tag_rate, file_fps, length, where):
    clock = VideoClock(tag_rate, file_fps, length)
    if tag_rate >= file_fps:
        index = min(int(where * length), length - 1)
        # The editor's last frame may begin before the file's last one does.
        if clock.video_frame_of_index(index) < clock.frames_count:
            assert clock.index_of_video_frame(clock.video_frame_of_index(index)) == index
    else:
        frame = 1 + min(int(where * clock.frames_count), clock.frames_count - 1)
        if clock.index_of_video_frame(frame) < length - 1:
            assert clock.video_frame_of_index(clock.index_of_video_frame(frame)) == frame


@given(rates, rates, lengths)
def test_frames_keep_their_order_and_range(tag_rate, file_fps, length):
    clock = VideoClock(tag_rate, file_fps, length)
    frames = range(-3, min(clock.frames_count, 400) + 3)
    indices = [clock.index_of_video_frame(frame) for frame in frames]
    assert indices == sorted(indices)
    assert 0 <= indices[0] <= indices[-1] < length
    back = [clock.video_frame_of_index(index) for index in range(-3, min(length, 400) + 3)]
    assert back == sorted(back)
    assert 1 <= back[0] <= back[-1] <= clock.frames_count


def test_half_the_rate_shows_every_second_frame():
    clock = VideoClock(15, 30, 300)
    assert clock.frames_count == 150
    assert [clock.index_of_video_frame(frame) for frame in (1, 2, 3)] == [0, 2, 4]
    assert [clock.video_frame_of_index(index) for index in (0, 1, 2)] == [1, 2, 2]
    assert clock.duration_s == pytest.approx(10)


def test_a_file_without_a_clock_counts_as_the_tag_does():
    clock = VideoClock(24, None, 48)
    assert (clock.frames_count, clock.duration_s, clock.index_of_video_frame(48)) == (48, 2, 47)
