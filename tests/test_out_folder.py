"""Folders of results: only what we wrote, and nobody has changed since, is ever removed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tam_backend.errors import InvalidInputError
from tam_backend.out_folder import WRITTEN_LIST, OutFolder


def taken(folder: Path, *, overwrite: bool = False) -> OutFolder:
    return OutFolder(folder, files=("result.json",), filled=("masks",), overwrite=overwrite)


def run(folder: Path, masks: dict[str, str], *, overwrite: bool = False) -> None:
    """Write what one run writes: masks, and result.json last."""
    out = taken(folder, overwrite=overwrite)
    out.clear()
    for name, content in {**{f"masks/{each}": text for each, text in masks.items()}, "result.json": "{}"}.items():
        with out.writing(name) as path:
            path.write_text(content)


def files_of(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and path.name != WRITTEN_LIST
    }


def test_a_second_run_leaves_nothing_of_the_first(tmp_path: Path) -> None:
    run(tmp_path / "out", {"0.png": "a", "1.png": "b"})
    run(tmp_path / "out", {"0.png": "c"})
    assert files_of(tmp_path / "out") == {"masks/0.png": "c", "result.json": "{}"}


@pytest.mark.parametrize("name", ["masks/00000.png", "masks/notes.txt", "masks/more/0.png", "result.json"])
def test_a_file_of_somebody_else_is_in_the_way_and_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("theirs")
    with pytest.raises(InvalidInputError, match="/".join(name.split("/")[:2])) as refused:
        taken(tmp_path)
    assert "--overwrite" in refused.value.remedy
    assert files_of(tmp_path) == {name: "theirs"}


def test_a_file_that_we_would_never_write_is_not_in_the_way(tmp_path: Path) -> None:
    for name in ("clip.mp4", "masks/.DS_Store", "masks/Thumbs.db"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("theirs")
    run(tmp_path, {"0.png": "a"})
    run(tmp_path, {"1.png": "b"})
    theirs = {"clip.mp4": "theirs", "masks/.DS_Store": "theirs", "masks/Thumbs.db": "theirs"}
    assert files_of(tmp_path) == theirs | {"masks/1.png": "b", "result.json": "{}"}


def test_overwriting_replaces_the_same_names_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    for name in ("masks/0.png", "masks/7.png"):
        (tmp_path / name).write_text("theirs")
    run(tmp_path, {"0.png": "a"}, overwrite=True)
    assert files_of(tmp_path) == {"masks/0.png": "a", "masks/7.png": "theirs", "result.json": "{}"}


def test_a_mask_that_somebody_corrected_is_not_ours_any_more(tmp_path: Path) -> None:
    run(tmp_path, {"0.png": "a", "1.png": "b"})
    (tmp_path / "masks/1.png").write_text("corrected by hand")
    with pytest.raises(InvalidInputError, match=r"changed since: masks/1\.png\."):
        taken(tmp_path)
    run(tmp_path, {"0.png": "c"}, overwrite=True)
    assert files_of(tmp_path) == {"masks/0.png": "c", "masks/1.png": "corrected by hand", "result.json": "{}"}


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_what_a_link_points_to_is_never_written_through(tmp_path: Path, link) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "original.png").write_text("theirs")
    (tmp_path / "out/masks").mkdir(parents=True)
    link(tmp_path / "original.png", tmp_path / "out/masks/0.png")
    with pytest.raises(InvalidInputError):
        taken(tmp_path / "out")
    run(tmp_path / "out", {"0.png": "ours"}, overwrite=True)
    assert (tmp_path / "original.png").read_text() == "theirs"
    assert (tmp_path / "out/masks/0.png").read_text() == "ours"


def test_a_folder_that_was_copied_is_still_ours(tmp_path: Path) -> None:
    run(tmp_path / "out", {"0.png": "a"})
    subprocess.run(["cp", "-r", str(tmp_path / "out"), str(tmp_path / "copy")], check=True)
    run(tmp_path / "copy", {"1.png": "b"})
    assert files_of(tmp_path / "copy") == {"masks/1.png": "b", "result.json": "{}"}


def test_a_run_that_broke_off_is_cleared_away_like_any_other(tmp_path: Path) -> None:
    out = taken(tmp_path)
    out.clear()
    with out.writing("masks/0.png") as path:
        path.write_text("a")
    with pytest.raises(KeyboardInterrupt), out.writing("masks/1.png") as path:
        path.write_text("half of i")
        raise KeyboardInterrupt
    assert files_of(tmp_path) == {"masks/0.png": "a"}
    run(tmp_path, {"5.png": "b"})
    assert files_of(tmp_path) == {"masks/5.png": "b", "result.json": "{}"}


def test_the_list_of_what_was_written_is_one_that_sha256sum_reads(tmp_path: Path) -> None:
    run(tmp_path, {"0.png": "a", "1.png": "b"})
    done = subprocess.run(["sha256sum", "--check", WRITTEN_LIST], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0 and done.stdout.count(b"OK") == 3


def test_a_list_that_names_files_elsewhere_deletes_nothing_there(tmp_path: Path) -> None:
    run(tmp_path / "out", {"0.png": "a"})
    digest = (tmp_path / "out" / WRITTEN_LIST).read_text().split()[0]
    for outside in ("theirs.png", "/theirs.png"):
        (tmp_path / "theirs.png").write_text("a")
        named = str(tmp_path) + outside if outside[0] == "/" else f"../{outside}"
        (tmp_path / "out" / WRITTEN_LIST).write_text(f"{digest}  {named}\n")
        run(tmp_path / "out", {"0.png": "a"}, overwrite=True)
        assert (tmp_path / "theirs.png").read_text() == "a"


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("theirs")
    with pytest.raises(InvalidInputError, match="--out"):
        taken(tmp_path / "file").clear()
    assert (tmp_path / "file").read_text() == "theirs"


NAMES = st.sampled_from(["masks/0.png", "masks/1.png", "masks/2.png", "result.json", "notes.txt"])


@settings(max_examples=60, deadline=None)
@given(theirs=st.dictionaries(NAMES, st.sampled_from(["x", "y"])), runs=st.lists(st.sets(st.sampled_from("012"))))
def test_whatever_lies_there_only_overwriting_replaces_it(
    tmp_path_factory: pytest.TempPathFactory, theirs: dict[str, str], runs: list[set[str]]
) -> None:
    folder = tmp_path_factory.mktemp("out")
    for each in runs[:1]:
        run(folder, {f"{name}.png": "ours" for name in each})
    for name, content in theirs.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)
    in_the_way = theirs.keys() - {"notes.txt"}
    for each in runs[1:]:
        if in_the_way:
            with pytest.raises(InvalidInputError):
                taken(folder)
            assert {name: files_of(folder)[name] for name in theirs} == theirs
        run(folder, {f"{name}.png": "ours" for name in each}, overwrite=bool(in_the_way))
        written = {f"masks/{name}.png" for name in each} | {"result.json"}
        expected = {name: content for name, content in theirs.items() if name not in written}
        in_the_way -= written
        theirs = expected
        assert files_of(folder) == expected | dict.fromkeys(written - {"result.json"}, "ours") | {"result.json": "{}"}
