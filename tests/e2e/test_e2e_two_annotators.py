"""Two people of a real Label Studio at one task: what is one's own stays one's own; objects that people tell apart."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from labelling import DISCS, FRAME_CONFIGS, Project
from masks_of import label_of, mask_of
from people import invited
from synthetic import iou

from demo.annotator import Annotator, Region
from demo.errors import DemoError

pytestmark = pytest.mark.e2e
RED, BLUE = 1, 2
CONFIG = FRAME_CONFIGS["BitmaskLabels"]


def click(project: Project, disc: int, label: str, frame: int = 0) -> Region:
    return project.page(frame).click(project.tags.clicks, DISCS.centre(frame, disc), label)


def test_two_annotators_click_and_propagate_at_the_same_time(
    new_project: Callable[[str], Project], annotator: Annotator
) -> None:
    project = new_project(CONFIG)
    ann, bob = annotator, invited(annotator, "bob@example.com")

    def ask(who: Annotator, disc: int, label: str) -> list[Region]:
        return who.ask(project.ml_backend, project.task, [click(project, disc, label)])

    drawn_by_ann = project.page(9).box(project.tags.boxes, (5, 5, 25, 25), "Red")
    ann.save_draft(project.task, [drawn_by_ann])
    ask(ann, RED, "Red")  # shown to Ann, and not saved
    with pytest.raises(DemoError, match="did not answer"):
        ask(bob, RED, "Propagate")  # he has nothing yet
    blue = ask(bob, BLUE, "Blue")
    bob.save_draft(project.task, blue)
    assert {label_of(each) for each in ask(bob, RED, "Propagate")} == {"Blue"}

    red = ask(ann, RED, "Red")
    ann.save_draft(project.task, red)
    with ThreadPoolExecutor(2) as pool:
        of_ann, of_bob = pool.map(lambda who: ask(who, RED, "Propagate"), (ann, bob))
    for answer, label, disc in ((of_ann, "Red", RED), (of_bob, "Blue", BLUE)):
        assert {label_of(each) for each in answer} == {label}
        assert len(answer) >= DISCS.frames - 1
        assert all(iou(mask_of(each), DISCS.truth(each["item_index"], disc)) > 0.6 for each in answer)


def test_a_second_object_of_a_label_is_begun_and_an_object_continued_where_people_say_so(
    new_project: Callable[[str], Project],
) -> None:
    gestures = '<Label value="New Red"/><Label value="Same Red"/>'
    project = new_project(CONFIG.replace('<Label value="Propagate"/>', f'{gestures}<Label value="Propagate"/>', 1))
    ask = project.annotator.ask
    first = ask(project.ml_backend, project.task, [click(project, RED, "Red")])
    project.annotator.save_draft(project.task, first)
    [new] = ask(project.ml_backend, project.task, [click(project, RED, "New Red")])
    assert label_of(new) == "Red"
    assert new["id"].split("-")[1] != first[0]["id"].split("-")[1]
    [same] = ask(project.ml_backend, project.task, [click(project, BLUE, "Same Red", 5)])
    assert same["id"].split("-")[1] == first[0]["id"].split("-")[1]
    assert iou(mask_of(same), DISCS.truth(5, BLUE)) > 0.6
