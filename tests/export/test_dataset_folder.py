"""A dataset's folder: one export at a time, whole or not at all, and nobody else's files."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import pytest

from tam_backend.errors import BusyError, InvalidInputError, OutputError
from tam_backend.export.dataset_folder import PART, DatasetFolder, StagedVideo, place
from tam_backend.out_folder import WRITTEN_LIST


def assemble(videos: Sequence[StagedVideo], whole: Path) -> None:
    for each in videos:
        place(each.folder / "text", whole / "texts" / each.name)


def stage(folder: DatasetFolder, name: str, text: str = "") -> StagedVideo:
    with folder.video(name, lambda: {"text": text}) as part:
        (part / "text").write_text(text or name)
    return folder.completed(name)


def test_a_dataset_is_not_seen_before_it_is_whole(tmp_path: Path) -> None:
    with DatasetFolder(tmp_path, {}) as folder:
        videos = [stage(folder, "a"), stage(folder, "b")]
        assert [each.name for each in tmp_path.iterdir()] == [PART]
        folder.publish(videos, assemble)
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted([WRITTEN_LIST, "texts"])
    assert (tmp_path / "texts" / "b").read_text() == "b"
    checked = subprocess.run(["sha256sum", "--check", WRITTEN_LIST], cwd=tmp_path, capture_output=True, check=False)
    assert checked.returncode == 0


def test_complete_videos_outlive_an_error_and_incomplete_ones_do_not(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), DatasetFolder(tmp_path, {"format": "a"}) as folder:
        stage(folder, "done")
        with folder.video("half", dict) as part:
            (part / "text").write_text("half")
            raise RuntimeError
    with DatasetFolder(tmp_path, {"format": "a"}) as folder:
        assert folder.staged("half") is None
        done = folder.staged("done")
        assert done is not None
        assert done.about == {"text": ""}
    with DatasetFolder(tmp_path, {"format": "b"}) as folder:
        assert folder.staged("done") is None, "made for another dataset"


def test_an_error_while_the_dataset_is_assembled_loses_nothing(tmp_path: Path) -> None:
    def fails(videos: Sequence[StagedVideo], whole: Path) -> None:
        assemble(videos, whole)
        raise OSError(errno.ENOSPC, "No space left on device")

    with DatasetFolder(tmp_path, {}) as folder, pytest.raises(OutputError, match="Make room"):
        folder.publish([stage(folder, "a")], fails)
    with DatasetFolder(tmp_path, {}) as folder:
        video = folder.staged("a")
        assert video is not None
        folder.publish([video], assemble)
    assert (tmp_path / "texts" / "a").read_text() == "a"


def test_only_one_export_holds_a_folder(tmp_path: Path) -> None:
    with DatasetFolder(tmp_path, {}), pytest.raises(BusyError, match="Another export"):
        DatasetFolder(tmp_path, {}).__enter__()
    with DatasetFolder(tmp_path, {}):
        pass


def test_an_earlier_dataset_goes_and_files_of_others_are_in_the_way(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with DatasetFolder(tmp_path, {}) as folder:
            folder.publish([stage(folder, name)], assemble)
    assert [each.name for each in (tmp_path / "texts").iterdir()] == ["b"]
    (tmp_path / "texts" / "b").write_text("edited")
    with pytest.raises(InvalidInputError, match="texts/b"):
        DatasetFolder(tmp_path, {}).__enter__()
    assert (tmp_path / "texts" / "b").read_text() == "edited"


def test_what_file_managers_leave_behind_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / ".DS_Store").write_text("")
    with DatasetFolder(tmp_path, {}) as folder:
        folder.publish([stage(folder, "a")], assemble)
    assert (tmp_path / ".DS_Store").exists()


def test_a_disk_without_links_gets_copies(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    with patch("os.link", side_effect=OSError(errno.EPERM, "Operation not permitted")):
        place(tmp_path / "file", tmp_path / "there" / "copy")
    assert (tmp_path / "there" / "copy").read_text() == "text"
    with patch("os.link", side_effect=OSError(errno.ENOSPC, "full")), pytest.raises(OSError, match="full"):
        place(tmp_path / "file", tmp_path / "there" / "other")


def test_a_folder_that_may_not_be_written_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="--out"):
        DatasetFolder(tmp_path / "file" / "out", {}).__enter__()
