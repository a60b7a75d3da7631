"""Tasks and smart clicks, read as prompts."""

from datetime import datetime, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ls_json import CONFIG, HW, VIDEO, blob, box, brush, click, common, point, task, video_box
from test_regions import damaged_results, json_values

from tam_backend.errors import InvalidPromptError, PayloadError, PromptOffFrameError, TamError
from tam_backend.labelstudio.config import MediaKind
from tam_backend.labelstudio.config_xml import parse_config
from tam_backend.labelstudio.ids import object_key
from tam_backend.labelstudio.prompts import how_saved, read_task
from tam_backend.labelstudio.prompts_in_pixels import to_prompts
from tam_backend.labelstudio.recommended_config import recommended_config
from tam_backend.labelstudio.results import box_track_region, mask_results
from tam_backend.labelstudio.video_clock import VideoClock

LEFT, RIGHT = blob(10, 10, 60, 60), blob(140, 10, 190, 60)


def read(a_task, context=None, unsaved=(), config=CONFIG):
    return read_task(a_task, context, config, propagate_label="Propagate", unsaved=unsaved)


def ids(found):
    return [[region.region_id for region in obj.regions] for obj in found.objects]


def test_one_click_asks_for_one_object_on_one_page():
    found = read(task(), click(point("p", 50, 25, frame=2)))
    assert found.asked.frame == 2
    assert found.asked.object.key == object_key("p")
    assert not found.propagate
    assert found.media.name == "frames"
    (prompt,) = to_prompts(found.asked.object, HW, frames={2})
    assert (prompt.object_id, prompt.frame, prompt.label) == (1, 2, "Dog")
    assert prompt.points == ((100, 25, True),)


def test_more_clicks_keep_the_key_and_the_newest_tells_the_page():
    found = read(task(), click(point("p", 50, 25, frame=2), point("q", 1, 1, frame=1, positive=False)))
    assert found.asked.object.key == object_key("p")
    assert found.asked.frame == 1
    assert [prompt.frame for prompt in to_prompts(found.asked.object, HW)] == [1, 2]


def test_a_second_object_of_the_same_label_gets_another_key():
    first = brush(f"tam-{object_key('p')}-0f", LEFT, origin="prediction", meta={"tam_source": "prompt"})
    found = read(task(draft=[first]), click(point("q", 80, 30)))
    assert found.asked.object.key == object_key("q") != object_key("p")
    assert found.asked.object.object_id == 2


def test_lasting_ids_do_not_follow_the_order_of_drawing():
    first = brush(f"tam-{object_key('p')}-0f", LEFT, origin="prediction", meta={"tam_source": "prompt"})
    drawn = read(task(draft=[first]), click(point("q", 80, 30)))
    kept = drawn.lasting({object_key("p"): 7, object_key("q"): 3})
    assert [each.object_id for each in drawn.objects] == [1, 2]
    assert [each.object_id for each in kept.objects] == [7, 3]
    assert kept.asked.object.object_id == 3
    assert {prompt.object_id for prompt in to_prompts(kept.asked.object, HW)} == {3}
    assert (kept.media, kept.propagate, kept.whose, kept.held, kept.related) == (
        drawn.media, drawn.propagate, drawn.whose, drawn.held, drawn.related,
    )  # fmt: skip


def test_a_click_in_an_accepted_mask_corrects_it_with_the_mask_as_hint():
    accepted = brush("tam-k-0f", LEFT, origin="prediction", meta={"tam_source": "propagated"})
    found = read(task(draft=[accepted]), click(point("q", 10, 30, positive=False)))
    assert found.asked.object.key == "k"
    (prompt,) = to_prompts(found.asked.object, HW, frames={0})
    assert prompt.points == ((20, 30, False),)
    np.testing.assert_array_equal(prompt.mask, LEFT)


def test_the_other_type_of_prompt_comes_from_the_draft():
    draft = [box("b", 5, 5, 50, 50), point("p", 20, 20), box("c", 5, 5, 50, 50, label="Cat")]
    found = read(task(draft=draft), click(point("p", 20, 20), point("q", 30, 30)))
    (prompt,) = to_prompts(found.asked.object, HW, frames={0})
    assert prompt.box == (10, 5, 110, 55)
    assert len(prompt.points) == 2
    assert ids(found) == [["b", "p", "q"], ["c"]]


def test_a_draft_with_points_that_the_click_no_longer_has_is_not_believed():
    draft = [
        point("accepted", 20, 20),
        box("accepted-too", 5, 5, 50, 50),
        box("on another page", 5, 5, 50, 50, frame=1),
    ]
    assert ids(read(task(draft=draft), click(point("q", 30, 30)))) == [["q"]]


def test_a_box_that_a_positive_point_lies_outside_of_is_not_meant():
    assert ids(read(task(draft=[box("old", 5, 5, 10, 10)]), click(point("q", 90, 90)))) == [["q"]]
    assert ids(read(task(draft=[point("old", 90, 90)]), click(box("b", 5, 5, 10, 10)))) == [["b"]]
    found = read(task(draft=[box("b", 5, 5, 10, 10)]), click(point("q", 90, 90, positive=False)))
    assert ids(found) == [["b", "q"]]


def test_prompts_of_other_labels_stay():
    found = read(task(draft=[point("cat", 20, 20, label="Cat")]), click(point("q", 30, 30)))
    assert ids(found) == [["cat"], ["q"]]
    assert found.asked.object.label == "Dog"


@pytest.mark.parametrize("label", ["Propagate", "PROPAGATE", "propagate"])
def test_a_propagate_click_asks_for_all_objects(label):
    draft = [brush("tam-a-0f", LEFT), point("p", 80, 30, label="Cat", frame=1), point("old", 1, 1, label=label)]
    found = read(task(draft=draft), click(point("go", 99, 99, label=label, frame=2)))
    assert found.propagate
    assert found.asked is None
    assert ids(found) == [["tam-a-0f"], ["p"]]


def test_the_propagate_label_may_be_an_alias():
    page = recommended_config(["Dog"]).replace('value="Propagate"', 'value="Propagate" alias="go"')
    assert read(task(), click(point("x", 1, 1, label="go")), config=parse_config(page)).propagate


def test_the_draft_of_an_annotation_stands_for_it():
    annotation = {"id": 5, "result": [brush("old", LEFT)], "was_cancelled": False, "updated_at": "2030-01-02T00:00:00Z"}
    draft = {"id": 6, "result": [brush("new", LEFT)], "annotation": 5, "updated_at": "2030-01-01T00:00:00Z"}
    found = read({"drafts": [draft], "annotations": [annotation]}, click(point("q", 90, 90, label="Cat")))
    assert ids(found) == [["new"], ["q"]]


def test_the_newest_of_drafts_and_annotations_is_read():
    newest = {"id": 5, "result": [brush("new", LEFT)], "updated_at": "2031-01-01T00:00:00+00:00"}
    a_task = task(draft=[brush("draft", LEFT)], annotations=[[brush("a", LEFT)], [brush("b", LEFT)]])
    assert ids(read(a_task, click()))[0] == ["draft"]
    assert how_saved(a_task).at == datetime(2030, 1, 1, tzinfo=timezone.utc)
    assert how_saved(a_task).ids == {"draft"}
    a_task["annotations"].append(newest)
    assert ids(read(a_task, click()))[0] == ["new"]


def test_other_peoples_annotations_are_not_on_the_screen_of_who_has_a_draft():
    a_task = task(draft=[brush("mine", LEFT)])
    a_task["drafts"][0]["created_username"] = "Ann ann@example.com, 1"
    a_task["annotations"] = [
        {"result": [brush("theirs", LEFT)], "created_username": "Bob bob@example.com, 2", "updated_at": "2031-01-01"}
    ]
    assert ids(read(a_task, click())) == [["mine"]]


def test_cancelled_annotations_and_drafts_in_batch_calls_are_not_read():
    a_task = task(draft=[brush("draft", LEFT)], annotations=[[brush("a", LEFT)], [brush("cancelled", LEFT)]])
    a_task["annotations"][1]["was_cancelled"] = True
    found = read(a_task)
    assert ids(found) == [["a"]]
    assert found.asked is None
    assert not found.propagate


def test_a_task_without_anything():
    for empty in ({}, {"drafts": None, "annotations": None}, task(draft=[]), {"annotations": [{"result": None}]}):
        for context in (None, {}, click(), {"result": None}):
            found = read(empty, context)
            assert (found.objects, found.asked, found.media.name) == ((), None, "frames")
    assert how_saved({}).stamp == ""


def test_what_was_answered_but_not_saved_yet_counts():
    accepted = brush("tam-k-0f", LEFT, origin="prediction", meta={"tam_source": "prompt"})
    found = read(task(draft=[]), click(point("go", 1, 1, label="Propagate")), unsaved=[accepted])
    (prompt,) = to_prompts(found.objects[0], HW)
    np.testing.assert_array_equal(prompt.mask, LEFT)
    changed = brush("tam-k-0f", RIGHT, origin="prediction-changed")
    found = read(task(draft=[changed]), click(point("go", 1, 1, label="Propagate")), unsaved=[accepted])
    np.testing.assert_array_equal(to_prompts(found.objects[0], HW)[0].mask, RIGHT)


def test_a_video_box_is_asked_for_under_its_own_id():
    found = read(
        task(draft=[video_box("other", [(1, 1, 1, 5, 5)], label="Cat")]), click(video_box("v", [(3, 10, 20, 30, 40)]))
    )
    assert found.media.kind is MediaKind.VIDEO
    assert found.asked.object.region_id == "v"
    assert found.asked.frame is None
    (prompt,) = to_prompts(found.asked.object, HW, clock=VideoClock(25, 25, 30))
    assert (prompt.frame, prompt.box) == (2, (20, 20, 80, 60))
    with pytest.raises(InvalidPromptError):
        to_prompts(found.asked.object, HW)


def test_of_a_track_of_ours_only_the_boxes_that_a_human_moved_are_prompts():
    clock = VideoClock(25, 25, 30)
    track = box_track_region(
        CONFIG.box_output(VIDEO),
        VIDEO,
        region_id="v",
        labels=("Dog",),
        boxes={i: (i, 10.0, i + 33.3, 20.7) for i in range(30)},
        size_hw=HW,
        clock=clock,
        quality=1,
    )
    track["value"]["sequence"][4]["x"] += 5  # as the editor leaves it: the rest of the keyframe stays
    found = read(task(), click(track))
    (prompt,) = to_prompts(found.asked.object, HW, clock=clock)
    assert prompt.frame == 4
    assert prompt.box[0] == pytest.approx(14)
    del track["value"]["sequence"][4]
    (prompt,) = to_prompts(read(task(), click(track)).asked.object, HW, clock=clock)
    assert prompt.frame == 0


def test_batch_calls_read_the_media_that_was_drawn_on():
    found = read(task(annotations=[[video_box("v", [(1, 1, 1, 5, 5)])]]))
    assert found.media.name == "video"


def objects_of(*results):
    return read(task(annotations=[list(results)])).objects


def test_pixels_are_those_of_the_decoded_frame():
    (obj,) = objects_of(box("b", 25, 50, 50, 25), point("p", 50, 60))
    (prompt,) = to_prompts(obj, (1000, 400))
    assert prompt.box == (100, 500, 300, 750)
    assert prompt.points == ((200, 600, True),)


def test_masks_of_another_size_are_resized_to_the_frame():
    (obj,) = objects_of(brush("b", LEFT))
    (prompt,) = to_prompts(obj, (200, 400))
    np.testing.assert_array_equal(prompt.mask, blob(20, 20, 120, 120, (200, 400)))
    (prompt,) = to_prompts(obj, (50, 100))
    np.testing.assert_array_equal(prompt.mask, blob(5, 5, 30, 30, (50, 100)))


def test_several_strokes_of_one_object_are_one_mask():
    (obj,) = objects_of(brush("tam-a-0f", LEFT), brush("tam-a-0f-copy", RIGHT))
    (prompt,) = to_prompts(obj, HW)
    np.testing.assert_array_equal(prompt.mask, LEFT | RIGHT)


def test_propagated_masks_are_no_keyframes_unless_nothing_else_is_left():
    accepted = {"origin": "prediction", "meta": {"tam_source": "prompt"}}
    tracked = {"origin": "prediction", "meta": {"tam_source": "propagated"}}
    results = [
        brush("tam-a-0f", LEFT, **accepted),
        brush("tam-a-1f", LEFT, frame=1, score=0.6, **tracked),
        brush("tam-a-2f", RIGHT, frame=2, score=0.7, **tracked),
    ]
    (obj,) = objects_of(*results)
    assert [prompt.frame for prompt in to_prompts(obj, HW)] == [0]
    assert to_prompts(obj, HW, frames={1}) == []
    (obj,) = objects_of(*results[1:])
    assert [prompt.frame for prompt in to_prompts(obj, HW)] == [2]


def test_a_humans_empty_mask_says_that_the_object_is_absent():
    (obj,) = objects_of(brush("tam-a-4f", blob(0, 0, 0, 0), frame=4, origin="prediction-changed"))
    (prompt,) = to_prompts(obj, HW)
    assert prompt.frame == 4
    assert not prompt.mask.any()


@pytest.mark.parametrize(("x", "y", "expected"), [(-0.9, 100.9, (0, 99)), (100, 0, (199, 0)), (100.5, 50, (199, 50))])
def test_points_that_rounding_put_off_the_frame_are_put_back(x, y, expected):
    (obj,) = objects_of(point("p", x, y))
    assert to_prompts(obj, HW)[0].points[0][:2] == expected


@pytest.mark.parametrize(("x", "y"), [(-2, 50), (50, 102), (1e6, 0)])
def test_points_off_the_frame_are_errors_that_name_them(x, y):
    (obj,) = objects_of(point("stray", x, y))
    with pytest.raises(PromptOffFrameError, match="stray"):
        to_prompts(obj, HW)


def test_boxes_are_cut_at_the_frames_edge_and_refused_outside():
    assert to_prompts(objects_of(box("b", -10, 50, 60, 60))[0], HW)[0].box == (0, 50, 100, 100)
    for outside in (box("stray", 110, 0, 10, 10), box("stray", 0, -20, 10, 10)):
        with pytest.raises(PromptOffFrameError, match="stray"):
            to_prompts(objects_of(outside)[0], HW)
    with pytest.raises(InvalidPromptError, match="flat"):
        to_prompts(objects_of(box("flat", 10, 10, 0, 10))[0], HW)


def test_the_newest_box_counts():
    (obj,) = objects_of(box("b", 0, 0, 50, 50), box("c", 5, 5, 50, 50))
    assert to_prompts(obj, HW)[0].box == (10, 5, 110, 55)


@pytest.mark.parametrize(
    ("a_task", "context"),
    [
        (None, None),
        ([], None),
        ({"drafts": {}}, {}),
        ({"annotations": [1]}, None),
        ({"annotations": [{"result": "x"}]}, None),
        ({}, []),
        ({}, {"result": {"a": 1}}),
    ],
)
def test_malformed_tasks_are_refused(a_task, context):
    with pytest.raises(PayloadError):
        read(a_task, context)


def test_an_answer_comes_back_as_the_same_object():
    found = read(task(), click(point("p", 20, 30, frame=1)))
    answer = mask_results(
        CONFIG.output(found.media),
        found.media,
        key=found.asked.object.key,
        frame=1,
        labels=("Dog",),
        mask=LEFT,
        quality=0.9,
        source="prompt",
    )
    again = read(task(draft=list(answer)), click(point("go", 1, 1, label="Propagate")))
    assert [obj.key for obj in again.objects] == [object_key("p")]


entries = st.lists(
    st.dictionaries(
        st.sampled_from(["result", "updated_at", "was_cancelled", "annotation", "id", "created_username"]),
        json_values | st.lists(damaged_results(), max_size=3),
        max_size=4,
    )
    | json_values,
    max_size=3,
)


@given(
    st.fixed_dictionaries({}, optional={"drafts": entries | json_values, "annotations": entries}),
    st.none() | st.fixed_dictionaries({}, optional={"result": st.lists(damaged_results(), max_size=3)}) | json_values,
)
def test_any_json_is_read_or_refused(a_task, context):
    try:
        found = read(a_task, context)
        for obj in found.objects:
            to_prompts(obj, HW, clock=VideoClock(25, 25, 30))
    except TamError as error:
        assert error.message
        assert error.status == 400


def test_a_label_that_is_missing_is_no_label():
    found = read(task(), click(common("p", "point", "keypointlabels", 0, {"x": 1, "y": 1, "width": 1})))
    assert found.asked.object.label is None
