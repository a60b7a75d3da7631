"""Lists of frames one after the other."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from synthetic import MovingDiscs

from tam_backend import open_video
from tam_backend.errors import MediaNotFoundError
from tam_backend.video.joined import JoinedFrames, Piece
from tam_backend.video.source import FrameSubset


class Opened:
    """Videos that count how many of them are open."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.closed: list[str] = []

    def piece(self, name: str, length: int) -> Piece:
        def start() -> MovingDiscs:
            self.opened.append(name)
            video = MovingDiscs(frames=length, name=name, starts_xy=((20 + len(name), 20),))
            video.close = lambda: self.closed.append(name)
            return video

        return Piece(length, start)


def test_frames_are_counted_through_and_one_list_is_open_at_a_time() -> None:
    videos = Opened()
    joined = JoinedFrames([videos.piece("a", 3), videos.piece("bb", 2), videos.piece("ccc", 4)])
    assert videos.opened == [], "nothing is opened before a frame is asked for"
    for index, (name, within) in enumerate([("a", 0), ("a", 1), ("a", 2), ("bb", 0), ("bb", 1), ("ccc", 0)]):
        expected = MovingDiscs(frames=4, starts_xy=((20 + len(name), 20),))[within]
        assert np.array_equal(joined.picture(index), expected)
    assert (videos.opened, videos.closed) == (["a", "bb", "ccc"], ["a", "bb"])
    assert joined.file(0) is None
    joined.close()
    joined.close()
    assert videos.closed == ["a", "bb", "ccc", "a"]


def test_frames_that_are_files_are_told_also_of_some_frames_of_a_folder(tmp_path: Path) -> None:
    for number, picture in enumerate(MovingDiscs(frames=3)):
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture)
    joined = JoinedFrames([Piece(2, lambda: FrameSubset(open_video(tmp_path), [2, 0]))])
    assert [joined.file(index) for index in range(2)] == [tmp_path / "2.png", tmp_path / "0.png"]
    assert joined.fps() is None


def test_a_list_that_cannot_be_opened_says_so_each_time() -> None:
    def fails() -> MovingDiscs:
        raise MediaNotFoundError("gone", "")

    joined = JoinedFrames([Piece(1, fails)])
    for _ in range(2):
        with pytest.raises(MediaNotFoundError):
            joined.size_hw()
