"""What the texts for people and the files for GitHub and pre-commit name is there, and they agree with the code."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from tam_backend.cli import app
from tam_backend.models import zoo

ROOT = Path(__file__).resolve().parent.parent
MAKEFILE = (ROOT / "Makefile").read_text()
FORMS = [ROOT / f".github/ISSUE_TEMPLATE/{name}.yml" for name in ("bug", "question")]
TEXTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", ".github/pull_request_template.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *FORMS,
]
EVERY_TEXT = pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.name)
HERE = [
    *ROOT.iterdir(),
    *(path for each in ROOT.iterdir() if each.is_dir() and each.name[0] != "." for path in each.rglob("*")),
]
OF_PEOPLE = {"model.py"}
"""Files that readers are told to write themselves."""


def read_yaml(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text())


def recipe(target: str) -> list[str]:
    """The command lines of a target of the Makefile."""
    found = re.search(rf"^{target}:.*\n((?:\t.+\n)+)", MAKEFILE, re.MULTILINE)
    assert found is not None
    return [line.strip() for line in found.group(1).splitlines()]


def code_of(text: Path) -> Iterator[str]:
    """What stands as code in a text: in backquotes, indented, or in a fence; a form as a whole."""
    written = text.read_text()
    if text in FORMS:
        yield written
    yield from re.findall(r"^```\w*\n(.*?)^```$", written, re.DOTALL | re.MULTILINE)
    yield from re.findall(r"^ {4}(\S.*)$", written, re.MULTILINE)
    yield from re.findall(r"`([^`\n]+)`", written)


def anchors(text: Path) -> set[str]:
    """The addresses that GitHub gives the headings of a text."""
    headings = re.findall(r"^#+ (.+)$", text.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@EVERY_TEXT
def test_every_link_leads_to_a_file_and_a_heading(text: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", text.read_text()):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = text.parent / name if name else text
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@EVERY_TEXT
def test_every_file_of_ours_that_a_text_names_is_there(text: Path) -> None:
    for code in code_of(text):
        for name in re.findall(r"(?<![\w./*{-])[\w.-]+(?:/[\w.-]+)*(?:\.(?:py|md|sh|toml)|/)(?![\w./*-])", code):
            assert name in OF_PEOPLE or any(path.match(name) for path in HERE), f"{name} in: {code}"


@EVERY_TEXT
def test_every_make_target_that_a_text_names_exists(text: Path) -> None:
    targets = set(re.findall(r"^([\w-]+):", MAKEFILE, re.MULTILINE))
    named = {name for code in code_of(text) for name in re.findall(r"(?:^|\s)make ([a-z][\w-]*)", code)}
    assert named <= targets


@EVERY_TEXT
def test_every_command_of_tam_backend_that_a_text_names_exists(text: Path) -> None:
    commands = set(get_command(app).commands)
    named = {name for code in code_of(text) for name in re.findall(r"(?:^|[\s/])tam-backend ([a-z][\w-]*)", code)}
    assert named <= commands


def test_pre_commit_runs_what_make_lint_runs() -> None:
    [local] = read_yaml(".pre-commit-config.yaml")["repos"]
    assert local["repo"] == "local"
    assert [hook["entry"] for hook in local["hooks"]] == recipe("lint")
    for hook in local["hooks"]:
        assert hook["language"] == "system", "the tools are those of the project's environment"
        assert hook["always_run"] and not hook["pass_filenames"], "the whole tree is looked at, as by make"


def test_the_linters_look_at_every_folder_of_code() -> None:
    folders = {path.parent.name for path in ROOT.glob("*/*.py")} - {"tests", "tam_backend"}
    [strict] = [line for line in recipe("lint") if "--strict" in line]
    words = shlex.split(strict)
    assert {after for word, after in pairwise(words) if word == "-p"} == folders


def test_dependabot_looks_where_there_is_something_to_raise() -> None:
    settings = read_yaml(".github/dependabot.yml")
    assert settings["version"] == 2
    files = {"pip": "pyproject.toml", "docker": "Dockerfile"}
    assert [update["package-ecosystem"] for update in settings["updates"]] == list(files)
    for update in settings["updates"]:
        assert (ROOT / update["directory"].strip("/") / files[update["package-ecosystem"]]).is_file()
        assert update["schedule"]["interval"] in {"daily", "weekly", "monthly"}


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_issue_forms_are_what_github_takes(form: Path) -> None:
    """GitHub shows no form at all for one that breaks these rules, and tells nobody."""
    read = read_yaml(str(form.relative_to(ROOT)))
    assert read["name"] and read["description"]
    fields = [part for part in read["body"] if part["type"] != "markdown"]
    assert all(part["type"] in {"textarea", "input", "dropdown", "checkboxes"} for part in fields)
    assert all(part["attributes"]["label"] for part in fields)
    assert len({part["id"] for part in fields}) == len(fields)
    assert any(part["validations"]["required"] for part in fields if "validations" in part)


def test_every_form_is_tried_here() -> None:
    forms = {path for path in (ROOT / ".github/ISSUE_TEMPLATE").iterdir() if path.name != "config.yml"}
    assert forms == set(FORMS)
    assert read_yaml(".github/ISSUE_TEMPLATE/config.yml") == {"blank_issues_enabled": False}


def profile_rows() -> dict[str, str]:
    """Profile -> its row in the README's table of profiles."""
    section = (ROOT / "README.md").read_text().split("\n## Profiles\n")[1].split("\n## ")[0]
    return {row.split("`")[1]: row for row in section.splitlines() if row.startswith("| `")}


def test_the_readme_names_every_profile() -> None:
    assert set(profile_rows()) == set(zoo.profile_names())


@pytest.mark.parametrize("name", zoo.profile_names())
def test_the_readme_tells_the_size_of_a_profile_s_weights(name: str) -> None:
    row, chosen = profile_rows()[name], zoo.profile(name)
    if chosen.fetched:
        assert chosen.fetched[0].describe_size in row
    else:
        assert f"{sum(path.stat().st_size for path in chosen.weights) / 1e6:.0f} MB" in row


def test_operators_are_told_of_every_file_of_weights() -> None:
    explained = (ROOT / "docs/operations.md").read_text()
    for file in {file for name in zoo.profile_names() for file in zoo.fetchable(name)}:
        assert f"`{file.name}`" in explained
        assert file.size_bytes is None or f"{file.describe_size} |" in explained


def test_the_fuzzer_begins_as_make_has_it() -> None:
    """It is no test that pytest finds, with paths of its own."""
    [command] = recipe("fuzz")
    command = command.replace(".venv/bin/python", shlex.quote(sys.executable)).replace("$(ARGS)", "--help")
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
