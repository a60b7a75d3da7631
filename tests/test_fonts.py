"""Text in any script is drawn; what no font has is written as its number."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from tam_backend import fonts
from tam_backend.fonts import draw_text, text_width


def drawn(text: str, anchor: str = "lm", size_px: float = 20) -> np.ndarray:
    image = Image.new("L", (600, 40))
    x = {"l": 20, "m": 300, "r": 580}[anchor[0]]
    draw_text(ImageDraw.Draw(image), (x, 20), text, size_px, 255, anchor)
    return np.asarray(image)


@pytest.mark.parametrize(
    ("one", "other"),
    [("кот", "дым"), ("ὄνος", "ἵππος"), ("שור", "חתול"), ("قطة", "كلب"), ("ø", "ß"), ("猫", "犬"), ("🐱", "🐶")],
)
def test_two_words_of_any_script_do_not_look_alike(one: str, other: str) -> None:
    assert drawn(one).max() > 128
    assert np.count_nonzero(drawn(one) != drawn(other)) > 10


def test_what_no_font_has_is_written_as_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_fonts_of_the_machine", tuple)
    fonts._font_of.cache_clear()
    try:
        np.testing.assert_array_equal(drawn("a猫"), drawn("a[732B]"))
        np.testing.assert_array_equal(drawn("\ud800"), drawn("[D800]"))
    finally:
        fonts._font_of.cache_clear()


def test_control_characters_are_blanks() -> None:
    np.testing.assert_array_equal(drawn("a\nb\tc\0"), drawn("a b c "))


@pytest.mark.parametrize("text", ["кот", "dog", "قطة"])
def test_an_anchor_says_where_the_text_comes_to_lie(text: str) -> None:
    width = text_width(text, 20)
    for anchor, left in (("lm", 20), ("mm", 300 - width / 2), ("rm", 580 - width)):
        columns = np.flatnonzero(drawn(text, anchor).max(0) > 60)
        assert columns[0] == pytest.approx(left, abs=4)
        assert columns[-1] == pytest.approx(left + width, abs=4)


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(max_codepoint=0x2FF), max_size=12), st.integers(8, 40))
def test_any_text_can_be_drawn(text: str, size_px: int) -> None:
    assert text_width(text, size_px) >= 0
    drawn(text, size_px=size_px)
