"""What a labeling config asks for and cannot get is said, in words that name the tag; a good one hears nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ls_json import click, common, task

from tam_backend.errors import InvalidPromptError
from tam_backend.labelstudio.config_xml import parse_config, read_tags
from tam_backend.labelstudio.prompts import read_task
from tam_backend.labelstudio.recommended_config import recommended_config
from tam_backend.labelstudio.supported import SUPPORTED, remarks

FRAMES = '<Image name="frames" valueList="$frames"/>'
MASK = '<BrushLabels name="mask" toName="frames" smart="false"><Label value="Dog"/></BrushLabels>'
POINT = (
    '<KeyPointLabels name="point" toName="frames" smart="true"><Label value="Dog"/><Label value="Propagate"/>'
    "</KeyPointLabels>"
)


def said(*tags: str) -> str:
    return "\n".join(remarks("<View>" + "".join(tags) + "</View>", "Propagate"))


@pytest.mark.parametrize("new_objects", [False, True])
@pytest.mark.parametrize("video", [False, True])
@pytest.mark.parametrize("masks", ["brush", "bitmask", "polygon"])
def test_our_own_config_is_served_whole(video: bool, masks: str, new_objects: bool) -> None:
    page = recommended_config(["Dog", "Cat"], masks=masks, video=video, new_objects=new_objects)
    assert remarks(page, "Propagate") == ()


@pytest.mark.parametrize("label", ["New Dog", "same dog", "New object"])
def test_a_label_that_begins_or_continues_an_object_needs_no_tag_for_masks(label: str) -> None:
    assert said(FRAMES, MASK, POINT.replace("<Label", f'<Label value="{label}"/><Label', 1)) == ""


@pytest.mark.parametrize("label", ["New Horse", "Newer Dog", "New"])
def test_a_label_that_only_looks_like_one_does(label: str) -> None:
    assert f'"{label}"' in said(FRAMES, MASK, POINT.replace("<Label", f'<Label value="{label}"/><Label', 1))


@pytest.mark.parametrize("source", ["predictions", "plate"])
def test_what_a_propagate_begins_with_may_be_predictions_or_an_ordinary_tag(source: str) -> None:
    plate = '<RectangleLabels name="plate" toName="frames"><Label value="Dog"/></RectangleLabels>'
    assert said(FRAMES.replace("/>", f' tamPromptFrom="{source}"/>'), MASK, POINT, plate) == ""


@pytest.mark.parametrize(
    ("source", "why"),
    [("boxes", 'is called "boxes"'), ("mask", "holds masks"), ("point", '"point" is smart')],
)
def test_a_tag_from_which_nothing_can_begin_is_named_with_the_reason(source: str, why: str) -> None:
    remark = said(FRAMES.replace("/>", f' tamPromptFrom="{source}"/>'), MASK, POINT)
    assert f'tamPromptFrom="{source}"' in remark
    assert why in remark
    page = "<View>" + FRAMES + MASK + POINT + "</View>"
    [of_setting] = remarks(page, "Propagate", source)
    assert "TAM_PROMPT_FROM" in of_setting
    assert why in of_setting
    assert remarks(page.replace("valueList", 'tamPromptFrom="predictions" valueList'), "Propagate", source) == ()


ORDINARY = (
    '<RectangleLabels name="plate" toName="frames"><Label value="Plate"/></RectangleLabels>',
    '<EllipseLabels name="oval" toName="frames" smart="false"><Label value="Plate"/></EllipseLabels>',
    '<Choices name="c" toName="frames" perRegion="true"><Choice value="a"/></Choices>',
    '<TextArea name="t" toName="frames" perRegion="true"/>',
    '<Text name="text" value="$text"/><Labels name="l" toName="text"><Label value="Noun"/></Labels>',
    '<Header value="Hello"/>',
    '<Paragraphs name="p" value="$p"/><ParagraphLabels name="pl" toName="p"><Label value="X"/></ParagraphLabels>',
)


@given(st.lists(st.sampled_from(ORDINARY), unique=True).flatmap(st.permutations))
def test_ordinary_tags_are_nobodys_trouble(ordinary: list[str]) -> None:
    assert said(FRAMES, MASK, POINT, *ordinary) == ""


@pytest.mark.parametrize(
    ("tags", "named"),
    [
        ((MASK, POINT.replace('"Dog"', '"Horse"')), ['"Horse"', "refused"]),
        ((MASK.replace('"false"', '"true"'), POINT), ["<BrushLabels>", "mask", 'smart="false"']),
        ((MASK,), ["cannot be clicked"]),
        ((MASK, POINT.replace("Propagate", "Dog2")), ["Propagate"]),
        ((MASK, POINT, '<CuboidLabels name="cube" toName="frames" smart="true"/>'), ["<CuboidLabels>", "cube"]),
        ((MASK, POINT, '<MagicWand name="wand" toName="frames" smart="true"/>'), ["<MagicWand>", "wand"]),
        (
            (MASK, POINT, '<Text name="t" value="$t"/><RectangleLabels name="r" toName="t" smart="true"/>'),
            ["RectangleLabels", '"t"'],
        ),
        (
            (MASK, POINT, '<Text name="t" value="$t"/><Labels name="words" toName="t" smart="true"/>'),
            ["<Labels>", "words"],
        ),
        (
            (MASK, POINT, '<Video name="v" value="$v"/><KeyPointLabels name="k" toName="v" smart="true"/>'),
            ['"k"', '"v"', "VideoRectangle"],
        ),
        ((MASK, POINT, '<Video name="v" value="$v"/><VideoRectangle name="b" toName="v"/>'), ['"v"', "not tracked"]),
        ((MASK, POINT, '<Image name="logo" value="https://x/logo.png"/>'), ['"logo"']),
        (
            (MASK, POINT, '<Image name="ref" value="$ref"/><KeyPointLabels name="k" toName="ref" smart="true"/>'),
            ['"ref"', "takes a mask"],
        ),
    ],
)
def test_what_cannot_be_served_is_named(tags: tuple[str, ...], named: list[str]) -> None:
    assert all(word in said(FRAMES, *tags) for word in named)


@pytest.mark.parametrize("kind", ["cuboidlabels", "magicwand", "brushlabels2", "paragraphlabels", "vectorlabels"])
def test_a_click_with_something_that_is_no_prompt_is_refused_by_its_name(kind: str) -> None:
    config = parse_config(f"<View>{FRAMES}{MASK}{POINT}</View>")
    unknown = common("u", "odd", kind, 0, {"x": 1, "y": 1, kind: ["Dog"]})
    with pytest.raises(InvalidPromptError, match=f'"odd" drew "{kind}"'):
        read_task(task(), click(unknown), config, propagate_label="Propagate")
    taken_back = read_task(task(), click(), config, propagate_label="Propagate")
    assert taken_back.asked is None


def test_the_documents_table_is_the_codes() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "label-studio.md").read_text()
    table = page.partition("| tag | what it is to the backend |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", table, re.MULTILINE)
    assert dict(rows) == SUPPORTED


@pytest.mark.parametrize("tag", ["KeyPoint", "Rectangle", "Ellipse", "Polygon", "Brush", "Bitmask"])
def test_the_table_says_what_the_code_does(tag: str) -> None:
    (control,) = parse_config(f'<View>{FRAMES}{MASK}<{tag} name="x" toName="frames"/></View>').controls[1:]
    assert (control.name, control.shape) == ("x", tag.lower())
    assert {each.kind for each in read_tags(f"<View><{tag}/></View>")} == {"view", tag.lower()}
