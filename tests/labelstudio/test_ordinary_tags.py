"""Only what the config marks as smart is a prompt; a mask goes to the tag that has its label, with all its labels."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ls_json import bitmask, blob, box, brush, click, common, point, task

from tam_backend.errors import LabelConfigError
from tam_backend.labelstudio.config_xml import parse_config
from tam_backend.labelstudio.outputs import mask_output
from tam_backend.labelstudio.prompts import read_task
from tam_backend.labelstudio.prompts_in_pixels import to_prompts

SHAPES = {
    "KeyPoint": {"x": 20, "y": 30, "width": 0.3},
    "Rectangle": {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0},
    "Ellipse": {"x": 25, "y": 40, "radiusX": 15, "radiusY": 20, "rotation": 0},
    "Polygon": {"points": [[10, 20], [40, 20], [40, 60]], "closed": True},
}
MASK = blob(20, 20, 80, 60)


def page(*tags: str) -> str:
    return '<View><Image name="frames" valueList="$frames"/>' + "".join(tags) + "</View>"


def tag(kind: str, name: str, *labels: str, more: str = "") -> str:
    inside = "".join(f'<Label value="{label}"/>' for label in labels)
    return f'<{kind} name="{name}" toName="frames" {more}>{inside}</{kind}>'


def drawn(shape: str, label: str = "Dog", name: str = "prompt") -> dict:
    kind = f"{shape.lower()}labels"
    return common("drawn", name, kind, 1, {**SHAPES[shape], kind: [label]})


def read(a_task, context, config):
    return read_task(a_task, context, parse_config(config), propagate_label="Propagate")


def with_prompt(shape: str, smart: str) -> str:
    return page(tag("BrushLabels", "mask", "Dog"), tag(f"{shape}Labels", "prompt", "Dog", more=smart))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("smart", ["", 'smart="false"', 'smart="no"', 'smartOnly="false"'])
def test_what_an_ordinary_tag_draws_is_no_prompt(shape: str, smart: str) -> None:
    config = with_prompt(shape, smart)
    assert read(task(annotations=[[drawn(shape)]]), None, config).objects == ()
    masked = task(draft=[drawn(shape), brush("m", MASK, frame=0)])
    (only,) = read(masked, click(brush("m", MASK, frame=0)), config).objects
    assert [region.region_id for region in only.regions] == ["m"]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("smart", ['smart="true"', 'smart="TRUE"', 'smartOnly="true"'])
def test_what_a_smart_tag_draws_is_one(shape: str, smart: str) -> None:
    (only,) = read(task(annotations=[[drawn(shape)]]), None, with_prompt(shape, smart)).objects
    assert [region.region_id for region in only.regions] == ["drawn"]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_click_is_a_prompt_unless_its_tag_is_expressly_not_smart(shape: str) -> None:
    asked = read(task(), click(drawn(shape)), with_prompt(shape, "")).asked
    assert asked is not None and asked.frame == 1
    with pytest.raises(LabelConfigError, match='"prompt"'):
        read(task(), click(drawn(shape)), with_prompt(shape, 'smart="false"'))


@pytest.mark.parametrize("shape", ["Rectangle", "Ellipse", "Polygon"])
def test_an_outline_prompts_with_the_box_around_it(shape: str) -> None:
    asked = read(task(), click(drawn(shape)), with_prompt(shape, 'smart="true"')).asked
    assert asked is not None
    (prompt,) = to_prompts(asked.object, (100, 200))
    assert prompt.box == pytest.approx((20, 20, 80, 60))


def test_a_box_on_a_video_is_a_prompt_only_where_the_config_says_so() -> None:
    video = '<View><Video name="v" value="$video"/><VideoRectangle name="b" toName="v"{}/></View>'
    keyframe = {"frame": 1, "x": 1, "y": 1, "width": 5, "height": 5, "enabled": True}
    a_box = {"id": "b1", "from_name": "b", "to_name": "v", "type": "videorectangle", "value": {"sequence": [keyframe]}}
    given_box = task(annotations=[[a_box]])
    assert read(given_box, None, video.format("")).objects == ()
    assert len(read(given_box, None, video.format(' smart="true"')).objects) == 1


TWO_TAGS = page(
    tag("BrushLabels", "vehicles", "Car", "Bus"),
    tag("BitmaskLabels", "people", "Person", "Car"),
    tag("KeyPointLabels", "point", "Car", "Bus", "Person", "Horse", "Propagate", more='smart="true"'),
    tag("RectangleLabels", "box", "Car", "Person", more='smart="true"'),
)


def output_of(config: str, *results: dict, frame: int = 0):
    parsed = parse_config(config)
    found = read(task(draft=list(results)), click(point("go", 1, 1, "Propagate")), config)
    (each,) = found.objects
    output = mask_output(parsed, found.media, each, frame)
    return output.control.name, output.labels


@pytest.mark.parametrize(("label", "name"), [("Car", "vehicles"), ("Bus", "vehicles"), ("Person", "people")])
def test_a_mask_goes_to_the_first_tag_that_has_its_label(label: str, name: str) -> None:
    assert output_of(TWO_TAGS, point("p", 20, 20, label)) == (name, (label,))


def test_a_mask_stays_in_the_tag_that_a_human_drew_it_with() -> None:
    mask = {**bitmask("m", MASK, "Car"), "from_name": "people"}
    assert output_of(TWO_TAGS, mask, frame=2) == ("people", ("Car",))


def test_a_label_that_no_tag_for_masks_has_is_named() -> None:
    with pytest.raises(LabelConfigError, match=r'"Horse".*"vehicles", "people"'):
        output_of(TWO_TAGS, point("p", 20, 20, "Horse"))


def test_a_tag_whose_labels_the_task_brings_takes_any_label() -> None:
    config = page(
        '<BrushLabels name="mask" toName="frames" value="$labels"/>',
        tag("KeyPointLabels", "point", "Horse", "Propagate", more='smart="true"'),
    )
    assert output_of(config, point("p", 20, 20, "Horse")) == ("mask", ("Horse",))


def test_two_tags_may_write_one_label_differently() -> None:
    mask = '<BrushLabels name="mask" toName="frames"><Label value="Dog" alias="d1"/><Label value="Cat"/></BrushLabels>'
    config = page(mask, tag("KeyPointLabels", "point", "Dog", "Propagate", more='smart="true"'))
    assert output_of(config, point("p", 20, 20, "Dog")) == ("mask", ("d1",))


def test_a_plain_tag_takes_the_labels_of_every_labels_tag() -> None:
    config = page(
        '<Brush name="mask" toName="frames"/>',
        tag("Labels", "kind", "Car", "Bus"),
        tag("Labels", "state", "Damaged"),
        tag("KeyPointLabels", "point", "Car", "Propagate", more='smart="true"'),
    )
    shape = brush("m", MASK)
    shape = {**shape, "type": "brush", "value": {"format": "rle", "rle": shape["value"]["rle"]}}
    labels = [
        {**shape, "from_name": name, "type": "labels", "value": {**shape["value"], "labels": [label]}}
        for name, label in (("kind", "Bus"), ("state", "Damaged"))
    ]
    assert output_of(config, shape, *labels, frame=2) == ("mask", ("Bus", "Damaged"))


@given(st.lists(st.sampled_from("ABCDE"), min_size=1, unique=True), st.integers(0, 3))
def test_all_labels_of_a_mask_come_back_on_every_frame(labels: list[str], frame: int) -> None:
    config = page(
        tag("BrushLabels", "other", "A"),
        tag("BrushLabels", "mask", *"ABCDE"),
        tag("KeyPointLabels", "point", "Propagate", more='smart="true"'),
    )
    mask = brush("m", MASK)
    mask["value"]["brushlabels"] = labels
    assert output_of(config, mask, frame=frame) == ("mask", tuple(labels))


def test_the_labels_of_the_nearest_keyframe_are_taken() -> None:
    early, late = brush("tam-a-0f", MASK, frame=0), brush("tam-a-8f", MASK, frame=8)
    late["value"]["brushlabels"] = ["Dog", "Wet"]
    config = page(
        tag("BrushLabels", "mask", "Dog", "Wet"), tag("KeyPointLabels", "point", "Propagate", more='smart="true"')
    )
    assert output_of(config, early, late, frame=2)[1] == ("Dog",)
    assert output_of(config, early, late, frame=6)[1] == ("Dog", "Wet")


def test_boxes_beside_smart_points_of_another_tag_say_nothing() -> None:
    config = page(
        tag("BrushLabels", "mask", "Dog"),
        tag("KeyPointLabels", "point", "Dog", "Propagate", more='smart="true"'),
        tag("RectangleLabels", "box", "Dog"),
    )
    draft = [box("ordinary", 10, 20, 30, 40), point("p", 20, 30)]
    (only,) = read(task(draft=draft), click(point("go", 1, 1, "Propagate")), config).objects
    assert [region.region_id for region in only.regions] == ["p"]
