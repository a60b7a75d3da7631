"""One family of errors: all of it is drawn, public, and can be written anywhere."""

from __future__ import annotations

import ast
import inspect
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tam_backend
from tam_backend import errors
from tam_backend.errors import HttpError, MediaNotFoundError, TamError, printable

PACKAGE = Path(errors.__file__).parent
FAMILY = [each for each in vars(errors).values() if inspect.isclass(each) and issubclass(each, TamError)]


def drawn(parent: type[TamError] = TamError, stem: str = "") -> Iterator[tuple[str, str, str]]:
    """What the drawing has to show: stem, name and status of each error below one, in the order of the code."""
    children = [each for each in FAMILY if each.__base__ is parent]
    for child in children:
        last = child is children[-1]
        status = "its" if child is HttpError else str(child.status)
        yield stem + ("└── " if last else "├── "), child.__name__, status
        yield from drawn(child, stem + ("    " if last else "│   "))


def test_the_drawing_shows_the_whole_family() -> None:
    lines = re.findall(r"^([ │├└─]+ )(\w+) +(\w+)  \S", errors.__doc__ or "", re.MULTILINE)
    assert lines == list(drawn())


def test_every_failure_that_the_package_defines_is_in_the_family() -> None:
    elsewhere = [
        f"{path.relative_to(PACKAGE)}: {node.name}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.name != "errors.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")  # those never leave their file
        if any(ast.unparse(base).endswith(("Error", "Exception")) for base in node.bases)
    ]
    assert not elsewhere


def test_the_whole_family_is_at_the_face_of_the_package() -> None:
    for each in FAMILY:
        assert getattr(tam_backend, each.__name__) is each
        assert each.__name__ in tam_backend.__all__


def test_a_failure_of_http_has_a_status_of_its_own() -> None:
    error = HttpError(405, "/health does not know POST.", "Use GET.")
    assert isinstance(error, TamError)
    assert (error.status, HttpError(415, "").status, TamError.status) == (405, 415, 500)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("кот.mp4", "кот.mp4"), (os.fsdecode(b"caf\xe9.mp4"), r"caf\xe9.mp4"), ("\ud800", r"\ud800"), ("a\\b", "a\\b")],
)
def test_what_is_no_unicode_is_written_as_numbers(text: str, expected: str) -> None:
    assert printable(text) == expected


@given(st.text(st.characters(exclude_categories=()), max_size=20))
def test_any_message_can_be_encoded(text: str) -> None:
    error = MediaNotFoundError(text, text)
    for each in (error.message, error.remedy, str(error), error.args[0]):
        each.encode()
