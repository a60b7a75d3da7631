"""prompts.json: what it may hold, and what is said when it does not fit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from tam_backend.errors import InvalidPromptError
from tam_backend.export import save_index_mask
from tam_backend.prompt_file import read_prompts


def write(folder: Path, content: object) -> Path:
    path = folder / "prompts.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def square(x0: int, y0: int, size: int = 4) -> np.ndarray:
    mask = np.zeros((20, 30), bool)
    mask[y0 : y0 + size, x0 : x0 + size] = True
    return mask


def test_points_boxes_labels_and_several_keyframes_are_read(tmp_path: Path) -> None:
    first, second, third = read_prompts(
        write(
            tmp_path,
            {
                "objects": [
                    {
                        "id": 1,
                        "label": "dog",
                        "prompts": [
                            {"frame": 0, "points": [[10, 20.5, 1], [3, 4, 0]]},
                            {"frame": 9, "box": [1, 2, 30, 40]},
                        ],
                    },
                    {"id": 4, "prompts": [{"frame": 2, "points": [[5, 5, 1]]}]},
                ]
            },
        )
    )
    assert (first.object_id, first.frame, first.label) == (1, 0, "dog")
    assert first.points == ((10, 20.5, True), (3, 4, False))
    assert (second.frame, second.box) == (9, (1, 2, 30, 40))
    assert (third.object_id, third.label) == (4, "")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_json_is_read_as_other_programs_write_it(tmp_path: Path, encoding: str) -> None:
    text = json.dumps(
        {"objects": [{"id": 1, "label": "кот", "prompts": [{"frame": 0, "box": [0, 0, 5, 5]}]}]}, ensure_ascii=False
    )
    (tmp_path / "prompts.json").write_bytes(text.encode(encoding))
    [prompt] = read_prompts(tmp_path / "prompts.json")
    assert prompt.label == "кот"


def test_json_that_is_no_unicode_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "prompts.json").write_bytes('{"objects": [{"id": 1, "label": "café"}]}'.encode("latin-1"))
    with pytest.raises(InvalidPromptError, match="no Unicode text") as refused:
        read_prompts(tmp_path / "prompts.json")
    assert "UTF-8" in refused.value.remedy


def test_a_mask_path_is_relative_to_the_file_and_picks_the_objects_pixels(tmp_path: Path) -> None:
    save_index_mask(tmp_path / "first.png", {1: square(0, 0), 2: square(10, 10)})
    (prompt,) = read_prompts(write(tmp_path, {"objects": [{"id": 2, "prompts": [{"frame": 0, "mask": "first.png"}]}]}))
    assert prompt.mask is not None
    assert np.array_equal(prompt.mask, square(10, 10))


def test_an_image_instead_of_json_is_the_mask_of_frame_0(tmp_path: Path) -> None:
    save_index_mask(tmp_path / "first.png", {1: square(0, 0), 3: square(10, 10)})
    one, three = read_prompts(tmp_path / "first.png")
    assert (one.object_id, three.object_id, one.frame, three.frame) == (1, 3, 0, 0)
    assert three.mask is not None and np.array_equal(three.mask, square(10, 10))


def test_a_mask_without_any_object_is_refused(tmp_path: Path) -> None:
    save_index_mask(tmp_path / "empty.png", {1: np.zeros((20, 30), bool)})
    with pytest.raises(InvalidPromptError, match=r"empty\.png shows no object"):
        read_prompts(tmp_path / "empty.png")


def test_how_a_doubtful_mask_was_read_is_told(tmp_path: Path) -> None:
    Image.fromarray(np.kron(square(4, 4), np.ones((4, 4))).astype(np.uint8) * 255).save(tmp_path / "first.jpg")
    notes: list[str] = []
    (prompt,) = read_prompts(tmp_path / "first.jpg", notes.append)
    assert (prompt.object_id, len(notes)) == (1, 1) and "first.jpg is a JPEG" in notes[0]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "JSON"),
        ({}, "objects"),
        ({"objects": []}, "objects"),
        ({"objects": [{"id": 0, "prompts": [{"frame": 0, "points": [[1, 1, 1]]}]}]}, r"objects\.0\.id"),
        ({"objects": [{"id": 1, "prompts": []}]}, "prompts"),
        ({"objects": [{"id": 1, "prompts": [{"frame": -1, "points": [[1, 1, 1]]}]}]}, "frame"),
        ({"objects": [{"id": 1, "prompts": [{"frame": 0}]}]}, "empty"),
        ({"objects": [{"id": 1, "prompts": [{"frame": 0, "points": [[1, 1]]}]}]}, "points"),
        ({"objects": [{"id": 1, "prompts": [{"frame": 0, "points": [[1, 1, -1]]}]}]}, "points"),
        ({"objects": [{"id": 1, "prompts": [{"frame": 0, "box": [5, 5, 5, 9]}]}]}, "no area"),
        ({"objects": [{"id": 1, "prompts": [{"frame": 0, "point": [[1, 1, 1]]}]}]}, "point"),
        ({"objects": [{"id": 1, "prompts": [{"frame": 0, "mask": "missing.png"}]}]}, "missing.png"),
        ({"objects": [{"id": 1, "prompts": [{"frame": 0, "box": [0, 0, 1, 1]}]}] * 2}, "same id"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, content: object, says: str) -> None:
    with pytest.raises(InvalidPromptError, match=says):
        read_prompts(write(tmp_path, content))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidPromptError, match=r"nothing\.json"):
        read_prompts(tmp_path / "nothing.json")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["objects", "id", "prompts", "frame", "points", "box", "mask"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@hypothesis_settings(max_examples=60)
@given(_JSON)
def test_no_json_whatsoever_causes_another_error(tmp_path_factory: pytest.TempPathFactory, content: object) -> None:
    with pytest.raises(InvalidPromptError):
        read_prompts(write(tmp_path_factory.mktemp("json"), content))
