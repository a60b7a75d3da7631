"""Messages can be written anywhere."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tam_backend.errors import MediaNotFoundError, printable


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
