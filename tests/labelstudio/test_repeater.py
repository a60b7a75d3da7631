"""The pages of a <Repeater> are one list of frames, each prompted and answered under its own names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ls_json import blob, brush, click, point, task

from tam_backend.labelstudio.config import MediaKind
from tam_backend.labelstudio.config_xml import parse_config
from tam_backend.labelstudio.names import PageName
from tam_backend.labelstudio.outputs import mask_output
from tam_backend.labelstudio.prompts import read_task
from tam_backend.labelstudio.prompts_in_pixels import to_prompts
from tam_backend.labelstudio.regions import read_regions
from tam_backend.labelstudio.results import mask_results
from tam_backend.labelstudio.supported import remarks

PAGE = """<View><Repeater on="${on}" indexFlag="{flag}" mode="pagination">
<Image name="page_{flag}" value="${on}[{flag}]{inner}"/>
<BrushLabels name="mask_{flag}" toName="page_{flag}"><Label value="Dog"/></BrushLabels>
<KeyPointLabels name="point_{flag}" toName="page_{flag}" smart="true"><Label value="Dog"/><Label value="Propagate"/>
</KeyPointLabels></Repeater></View>"""
CONFIG = PAGE.format(on="pages", flag="{{idx}}", inner=".image")
MASK = blob(20, 20, 80, 60)


def on_page(result: dict, page: int) -> dict:
    """Return a result as the editor sends it from a page of the Repeater: without item_index."""
    named = {"from_name": f"{result['from_name']}_{page}", "to_name": f"page_{page}"}
    return {key: value for key, value in {**result, **named}.items() if key != "item_index"}


@pytest.mark.parametrize(
    ("on", "flag", "inner", "data"),
    [
        ("pages", "{{idx}}", ".image", {"pages": [{"image": "a"}, {"image": "b"}]}),
        ("doc.pages", "{{i}}", "", {"doc": {"pages": ["a", "b"]}}),
        ("pages", "NUMBER", ".file.url", {"pages": [{"file": {"url": "a"}}, {"file": {"url": "b"}}]}),
    ],
)
def test_its_pages_are_frames(on: str, flag: str, inner: str, data: dict) -> None:
    (media,) = parse_config(PAGE.format(on=on, flag=flag, inner=inner)).media
    assert media.kind is MediaKind.FRAMES
    assert media.value(data) == ["a", "b"]
    assert media.value({}) is None
    assert media.name_on(1) == "page_1"


def test_the_usual_flag_need_not_be_named() -> None:
    (media,) = parse_config(CONFIG.replace(' indexFlag="{{idx}}"', "")).media
    assert media.page_flag == "{{idx}}"


def test_a_click_on_a_page_is_of_that_page() -> None:
    config = parse_config(CONFIG)
    drawn = on_page(brush("m", MASK), 0)
    found = read_task(task(draft=[drawn]), click(on_page(point("p", 20, 40), 2)), config, propagate_label="Propagate")
    assert found.asked is not None and found.asked.frame == 2
    (prompt,) = to_prompts(found.asked.object, (100, 200), frames=(2,))
    assert (prompt.frame, [(each.x, each.y) for each in prompt.points]) == (2, [(40, 40)])
    everything = read_task(
        task(draft=[drawn]), click(on_page(point("go", 1, 1, "Propagate"), 1)), config, propagate_label="Propagate"
    )
    assert everything.propagate
    assert [region.frame for each in everything.objects for region in each.regions] == [0]


@given(st.integers(0, 200))
def test_a_mask_is_answered_under_the_names_of_its_page(page: int) -> None:
    config = parse_config(CONFIG)
    found = read_task(task(), click(on_page(point("p", 20, 40), 0)), config, propagate_label="Propagate")
    assert found.asked is not None
    output = mask_output(config, found.media, found.asked.object, page)
    (result,) = mask_results(
        output.control, found.media, key="k", frame=page, labels=output.labels, mask=MASK, quality=0.9, source="prompt"
    )
    assert (result["from_name"], result["to_name"]) == (f"mask_{page}", f"page_{page}")
    assert "item_index" not in result  # each page is an <Image> of its own
    (region,) = read_regions([result], config)
    assert (region.frame, region.own_key, region.labels) == (page, "k", ("Dog",))


@pytest.mark.parametrize(
    "names", [("mask_1", "page_2"), ("mask_x", "page_x"), ("mask_", "page_"), ("mask_01", "page_01")]
)
def test_names_that_are_of_no_page_are_none_of_ours(names: tuple[str, str]) -> None:
    odd = {**brush("m", MASK), "from_name": names[0], "to_name": names[1]}
    assert read_regions([odd], parse_config(CONFIG)) == ()


@given(st.text(max_size=5), st.text(max_size=5), st.integers(0, 999_999))
def test_a_page_is_read_back_from_its_name(before: str, after: str, page: int) -> None:
    name = PageName(f"{before}{{{{idx}}}}{after}", "{{idx}}")
    if "{{idx}}" not in f"{before}|{after}":
        assert name.page(name.on(page)) == page
    assert PageName(before).page(before) == 0


def test_a_repeater_that_is_served_hears_nothing_and_lists_of_lists_are_named() -> None:
    assert remarks(CONFIG, "Propagate") == ()
    lists = CONFIG.replace("</Repeater>", '<Image name="list_{{idx}}" valueList="$docs[{{idx}}].pages"/></Repeater>')
    assert "list_{{idx}}" in "".join(remarks(lists, "Propagate"))
