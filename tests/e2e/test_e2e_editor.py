# ruff: noqa: F811 - fixtures are imported
"""What annotators do, in Label Studio's unmodified editor in a real browser, and what becomes of their work there."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from browser import chromium
from editor import Editor, Result
from in_the_editor import backend, editor, shot  # noqa: F401 - fixtures
from labelling import DISCS, FRAME_CONFIGS, Project
from masks_of import label_of, mask_of
from people import PASSWORD, invited
from selenium.webdriver.common.keys import Keys
from synthetic import iou

from demo.annotator import Annotator
from demo.label_studio import LabelStudio

pytestmark = pytest.mark.e2e
RED, BLUE = 1, 2
ANYWHERE = (300, 20)
NewProject = Callable[[str], Project]

PER_REGION = """
  <Choices name="state" toName="pages" perRegion="true"><Choice value="Clean"/><Choice value="Dirty"/></Choices>
  <TextArea name="note" toName="pages" perRegion="true"/>
  <Relations><Relation value="follows"/></Relations>
</View>"""
GESTURES = '<Label value="New Red"/><Label value="Same Red"/><Label value="Propagate"/>'


def with_gestures(config: str) -> str:
    return config.replace('<Label value="Propagate"/>', GESTURES)


def begin(editor: Editor, project: Project, *, auto_accept: bool) -> None:
    editor.open(project.id, project.task)
    editor.auto_annotation(auto_accept=auto_accept)


def beside(disc: int, frame: int = 0) -> tuple[float, float]:
    """A place just outside of a disc."""
    x, y = DISCS.centre(frame, disc)
    return x + DISCS.radius + 3, y


def hung(results: list[Result]) -> dict[str, Any]:
    """What hangs on a region."""
    return {each["from_name"]: each["value"].get("choices") or each["value"].get("text") for each in results[1:]}


def key(region: Result) -> str:
    return str(region["id"]).split("-")[1]


@pytest.mark.parametrize(("kind", "auto_accept"), [("BrushLabels", False), ("BitmaskLabels", True)])
def test_what_hangs_on_a_mask_survives_propagate_and_correction(
    new_project: NewProject, editor: Editor, kind: str, auto_accept: bool
) -> None:
    project = new_project(FRAME_CONFIGS[kind].replace("</View>", PER_REGION))
    begin(editor, project, auto_accept=auto_accept)

    def ask(label: str, xy: tuple[float, float]) -> None:
        editor.prompt(label, xy)
        if not auto_accept:
            editor.accept()

    ask("Red", DISCS.centre(0, RED))
    [mask] = editor.masks()
    editor.hang_on(mask["id"], "Clean", "seen at dawn")
    ask("Propagate", ANYWHERE)  # at once, whatever the draft says
    assert len(editor.masks()) == DISCS.frames
    assert hung(editor.results_of(mask["id"])) == {"state": ["Clean"], "note": ["seen at dawn"]}

    [second] = editor.masks(page=2)
    editor.hang_on(second["id"], "Dirty", "seen at noon")  # to select it in the list turns to its page
    ask("Red", beside(RED, frame=1))  # at once as well
    shot(editor, f"{kind}-corrected")
    corrected, *_ = editor.results_of(second["id"])
    assert mask_of(corrected).sum() > mask_of(second).sum()
    editor.submit()
    [annotation] = project.annotator.task(project.task)["annotations"]
    stored = {
        each["id"]: [other for other in annotation["result"] if other.get("id") == each["id"]]
        for each in (mask, second)
    }
    assert hung(stored[mask["id"]]) == {"state": ["Clean"], "note": ["seen at dawn"]}
    assert hung(stored[second["id"]]) == {"state": ["Dirty"], "note": ["seen at noon"]}
    assert (mask_of(stored[second["id"]][0]) == mask_of(corrected)).all()


def test_a_mask_in_a_relation_is_left_alone_as_the_editor_cannot_replace_it(
    new_project: NewProject, editor: Editor
) -> None:
    project = new_project(FRAME_CONFIGS["BrushLabels"].replace("</View>", PER_REGION))
    begin(editor, project, auto_accept=False)
    for label, disc in (("Red", RED), ("Blue", BLUE)):
        editor.prompt(label, DISCS.centre(0, disc))
        editor.accept()
    red, blue = editor.masks()
    editor.relate(red["id"], to=blue["id"])
    editor.prompt("Red", beside(RED))  # its answer would blank the page: two regions of one id, and a relation to them
    assert editor.is_alive()
    assert editor.relations() == [(red["id"], blue["id"])]
    editor.prompt("Propagate", ANYWHERE)
    editor.accept()
    shot(editor, "relation")
    assert len(editor.masks()) == 2 * DISCS.frames
    editor.submit()
    [annotation] = project.annotator.task(project.task)["annotations"]
    [relation] = [each for each in annotation["result"] if each["type"] == "relation"]
    assert (relation["from_id"], relation["to_id"]) == (red["id"], blue["id"])
    [stored] = [each for each in annotation["result"] if each.get("id") == red["id"]]
    assert (mask_of(stored) == mask_of(red)).all()


def test_a_second_object_of_a_label_is_begun_by_ctrl_click_in_a_brush_mask(
    new_project: NewProject, editor: Editor
) -> None:
    project = new_project(with_gestures(FRAME_CONFIGS["BrushLabels"]))
    begin(editor, project, auto_accept=True)
    centre = DISCS.centre(0, RED)
    editor.prompt("Red", centre)
    [first] = editor.masks()
    editor.choose("clicks", "New Red")
    editor.click(centre)
    assert editor.selected() == first["id"], "a plain click in a mask selects it"
    editor.unselect()
    editor.prompt("New Red", centre, Keys.CONTROL)
    untouched, second = editor.masks()
    assert untouched == first
    assert key(second) != key(first)
    assert label_of(second) == "Red"
    editor.prompt("Red", (centre[0] + 20, centre[1]), Keys.CONTROL, Keys.ALT)
    assert editor.selected() is None
    shot(editor, "second-object")
    editor.go_to(6)
    editor.prompt("Same Red", DISCS.centre(5, BLUE))
    [same] = editor.masks(page=6)
    assert key(same) in (key(first), key(second))
    assert iou(mask_of(same), DISCS.truth(5, BLUE)) > 0.6


def test_a_second_object_of_a_label_is_begun_by_a_box_over_a_bitmask(new_project: NewProject, editor: Editor) -> None:
    project = new_project(with_gestures(FRAME_CONFIGS["BitmaskLabels"]))
    begin(editor, project, auto_accept=True)
    x, y = DISCS.centre(0, RED)
    editor.prompt("Red", (x, y))
    [first] = editor.masks()
    for keys in ((), (Keys.CONTROL,), (Keys.ALT,)):
        editor.choose("clicks", "New Red")
        editor.click((x, y), *keys)
        assert editor.selected() == first["id"], "every click in a bitmask selects it"
        editor.unselect()
    editor.press_smart_button_until("rectangle-tool")
    asked = editor.answers_seen()
    editor.choose("boxes", "New Red")
    editor.drag((x - 35, y - 35), (x + 35, y + 35))
    editor.wait_for_answer(asked)
    untouched, second = editor.masks()
    assert untouched == first
    assert key(second) != key(first)
    assert label_of(second) == "Red"


def test_clicked_labels_arrive_in_the_tag_that_has_them(new_project: NewProject, editor: Editor) -> None:
    labels = '<Label value="Red"/><Label value="Blue"/>'
    config = FRAME_CONFIGS["BrushLabels"].replace(
        f'<BrushLabels name="shapes" toName="pages" smart="false">{labels}</BrushLabels>',
        '<BrushLabels name="warm" toName="pages" smart="false"><Label value="Red"/></BrushLabels>'
        '<BrushLabels name="cold" toName="pages" smart="false"><Label value="Blue"/></BrushLabels>',
    )
    project = new_project(config)
    begin(editor, project, auto_accept=True)
    for label, disc in (("Red", RED), ("Blue", BLUE)):
        editor.prompt(label, DISCS.centre(0, disc))
    editor.prompt("Propagate", ANYWHERE)
    shot(editor, "two-mask-tags")
    masks = editor.masks()
    assert len(masks) == 2 * DISCS.frames
    assert {(each["from_name"], label_of(each)) for each in masks} == {("warm", "Red"), ("cold", "Blue")}
    assert len(editor.results()) == len(masks), "no region has a second result, of another tag"


def test_two_people_click_turn_pages_and_propagate_at_once_before_anything_was_saved(
    new_project: NewProject, annotator: Annotator, label_studio: LabelStudio, editor: Editor
) -> None:
    project = new_project(FRAME_CONFIGS["BitmaskLabels"])
    invited(annotator, "carol@example.com")
    with chromium() as browser:
        carol = Editor(browser, replace(label_studio, email="carol@example.com", password=PASSWORD))

        def label(who: Editor, name: str, disc: int) -> list[Result]:
            begin(who, project, auto_accept=True)
            who.prompt(name, DISCS.centre(0, disc))
            who.go_to(2)  # which puts the saving of the draft off
            who.prompt("Propagate", ANYWHERE)
            return who.masks()

        with ThreadPoolExecutor(2) as pool:
            answers = pool.map(label, (editor, carol), ("Red", "Blue"), (RED, BLUE))
        for masks, name, disc in zip(answers, ("Red", "Blue"), (RED, BLUE), strict=True):
            assert {label_of(each) for each in masks} == {name}
            assert len(masks) == DISCS.frames
            assert all(iou(mask_of(each), DISCS.truth(each["item_index"], disc)) > 0.6 for each in masks)
        shot(carol, "carol")
        editor.submit()
        carol.submit()
    assert len(project.annotator.task(project.task)["annotations"]) == 2
