"""The release command, in a git repository of its own."""

from __future__ import annotations

import datetime
import subprocess
from pathlib import Path

import pytest

from scripts import release

TODAY = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
SOURCE = '"""A package."""\n\n__version__ = "0.1.0"\n'
CHANGELOG = "# Changelog\n\n## Unreleased\n\n### Added\n\n- A thing.\n\n## 0.1.0\n\n- The first version.\n"


def git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clean repository at 0.1.0 with one thing unreleased; the current folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):  # set where a git hook runs these tests
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "no-config"))
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Ann")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "ann@example.com")
    (tmp_path / release.VERSION_FILE).parent.mkdir()
    (tmp_path / release.VERSION_FILE).write_text(SOURCE)
    (tmp_path / release.CHANGELOG).write_text(CHANGELOG)
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    return tmp_path


def commit(root: Path) -> None:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "-m", "Begin")


def assert_nothing_was_done(root: Path, changelog: str = CHANGELOG) -> None:
    assert (root / release.VERSION_FILE).read_text() == SOURCE
    assert (root / release.CHANGELOG).read_text() == changelog
    assert git(root, "tag") == ""
    assert "Release" not in git(root, "log", "--format=%s")


def test_a_release_writes_the_version_dates_the_changelog_commits_and_tags(repository: Path) -> None:
    assert release.main(["0.2.0"]) == 0
    assert (repository / release.VERSION_FILE).read_text() == SOURCE.replace("0.1.0", "0.2.0")
    assert (repository / release.CHANGELOG).read_text() == CHANGELOG.replace("## Unreleased", f"## 0.2.0 - {TODAY}")
    assert git(repository, "status", "--porcelain") == ""
    assert git(repository, "log", "-1", "--format=%s") == "Release 0.2.0"
    assert git(repository, "rev-parse", "v0.2.0^{commit}") == git(repository, "rev-parse", "HEAD")
    assert git(repository, "cat-file", "-t", "v0.2.0") == "tag"


def test_a_dry_run_tells_and_does_nothing(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert release.main(["0.2.0", "--dry-run"]) == 0
    assert "v0.2.0" in capsys.readouterr().out
    assert_nothing_was_done(repository)


def test_a_section_with_the_version_and_the_date_of_today_stays_as_it_is(repository: Path) -> None:
    written = CHANGELOG.replace("## Unreleased", f"## 0.2.0 - {TODAY}")
    (repository / release.CHANGELOG).write_text(written)
    commit(repository)
    assert release.main(["0.2.0"]) == 0
    assert (repository / release.CHANGELOG).read_text() == written


@pytest.mark.parametrize("wanted", ["0.1.0", "0.0.9", "0.1.0rc1", "0.1"])
def test_a_version_that_does_not_grow_is_refused(
    wanted: str, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert release.main([wanted]) == 1
    assert "does not come after 0.1.0" in capsys.readouterr().err
    assert_nothing_was_done(repository)


@pytest.mark.parametrize("wanted", ["0.10.0", "0.1.1rc1", "1"])
def test_versions_grow_as_numbers(wanted: str, repository: Path) -> None:
    assert release.main([wanted]) == 0
    assert git(repository, "tag") == f"v{wanted}"


def test_what_is_no_version_is_refused(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert release.main(["next"]) == 1
    assert "'next' is no version" in capsys.readouterr().err
    assert_nothing_was_done(repository)


def test_a_tree_that_is_not_clean_is_refused(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (repository / "notes.txt").write_text("not committed")
    assert release.main(["0.2.0"]) == 1
    assert "notes.txt" in capsys.readouterr().err
    assert_nothing_was_done(repository)


@pytest.mark.parametrize(
    ("changelog", "told"),
    [
        ("# Changelog\n\n## 0.1.0\n\n- The first version.\n", "begins with '## 0.1.0'"),
        ("# Changelog\n\n## 0.2.0 - 2020-01-01\n\n- A thing.\n", "begins with '## 0.2.0 - 2020-01-01'"),
        ("# Changelog\n\n## Unreleased\n\n### Added\n\n## 0.1.0\n\n- The first version.\n", "tells nothing"),
        ("# Changelog\n", "has no section"),
    ],
)
def test_a_changelog_that_does_not_tell_of_the_release_is_refused(
    changelog: str, told: str, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (repository / release.CHANGELOG).write_text(changelog)
    commit(repository)
    assert release.main(["0.2.0"]) == 1
    assert told in capsys.readouterr().err
    assert_nothing_was_done(repository, changelog)


def test_a_tag_that_is_there_already_is_refused(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    git(repository, "tag", "v0.2.0")
    assert release.main(["0.2.0"]) == 1
    assert "There is a tag v0.2.0" in capsys.readouterr().err
    assert (repository / release.VERSION_FILE).read_text() == SOURCE


def test_a_commit_that_a_hook_refuses_leaves_everything_as_it_was(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hook = repository / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho the linters fail >&2\nexit 1\n")
    hook.chmod(0o755)
    assert release.main(["0.2.0"]) == 1
    assert "the linters fail" in capsys.readouterr().err
    assert_nothing_was_done(repository)
    assert git(repository, "status", "--porcelain") == ""
