"""The table of peers: every row runs here on small frames, and what is not installed is named with its command."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from benchmarks import peers
from benchmarks.peers import PEERS, Lane, race, table


@pytest.fixture
def own_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


class Counting:
    """A tracker that only notes which frames came with a mask."""

    def __init__(self) -> None:
        self.masks: list[bool] = []

    def step(
        self, image: torch.Tensor, mask: torch.Tensor | None = None, object_ids: list[int] | None = None
    ) -> torch.Tensor:
        self.masks.append(mask is not None)
        return image


def test_each_is_given_as_many_frames_and_masks_as_fill_its_memory_and_all_are_timed_on_the_same() -> None:
    quick, slow = Counting(), Counting()
    rows = [
        peers.Peer("slow to fill", lambda _: slow, until_full=5, masks=3),
        peers.Peer("quick to fill", lambda _: quick, until_full=2, masks=1),
    ]
    lanes = race(rows, objects=1, side=32, frames=4)
    assert slow.masks == [True] * 3 + [False] * 6
    assert quick.masks == [True] + [False] * 5
    assert [len(lane.seconds) for lane in lanes] == [4, 4]


def test_what_is_not_installed_is_left_out_and_named_with_the_command_that_brings_it() -> None:
    missing = replace(PEERS[-1], package="no_such_package")
    lanes = race([missing], objects=1, side=32, frames=1)
    assert lanes == []
    assert "pip install 'tam-backend[sam2]'" in table([missing], lanes)


def test_the_table_tells_medians_and_frames_a_second() -> None:
    lane = Lane(PEERS[0], Counting(), [0.5, 0.1, 0.25], [0.1, 0.2, 0.3])
    assert table(PEERS[:1], [lane]).splitlines()[1].split() == ["compact", "(ours)", "4.00", "250", "200"]


@pytest.mark.usefixtures("own_threads")
def test_the_command_prints_a_row_for_each_that_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("cutie")
    size = ["--side", "96", "--frames", "1", "--threads", "1"]
    monkeypatch.setattr("sys.argv", ["peers", *size, "--only", "compact", "Cutie small"])
    peers.main()
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("compact", "Cutie", "XMem"))]
    assert [row.split("  ")[0] for row in rows] == ["compact (ours)", "Cutie small (ours)", "Cutie small"]


@pytest.mark.usefixtures("own_threads")
def test_sam_2_is_asked_for_one_frame_after_the_other_and_answers_with_background_and_objects() -> None:
    pytest.importorskip("sam2")
    clip = [peers.scene(index, 1, 32) for index in range(2)]
    video = peers.Sam2Video(clip)
    torch.set_num_threads(1)
    assert video.step(clip[0].image, clip[0].labels, [1]).shape == (2, 32, 56)
    assert video.step(clip[1].image).shape == (2, 32, 56)
