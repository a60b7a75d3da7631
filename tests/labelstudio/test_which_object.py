"""Which object a click speaks of: guesses are safe, and people can say it themselves ("New Dog", "Same Dog")."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ls_json import HW, blob, box, brush, click, point, task

from tam_backend.labelstudio.config_xml import parse_config
from tam_backend.labelstudio.gestures import Gesture, object_labels, read_gesture
from tam_backend.labelstudio.ids import object_key
from tam_backend.labelstudio.prompts import read_task
from tam_backend.labelstudio.prompts_in_pixels import with_what_it_adds_to
from tam_backend.labelstudio.recommended_config import recommended_config
from tam_backend.types import Prompt

EXTRA = '<Label value="New Dog"/><Label value="Same Dog"/><Label value="New object"/><Label value="Propagate"/>'


def with_gestures(*labels):
    return parse_config(recommended_config(list(labels)).replace('<Label value="Propagate"/>', EXTRA))


CONFIG = with_gestures("Dog", "Cat")
HEIGHT, WIDTH = HW


def asked(draft, *clicked, config=CONFIG):
    return read_task(task(draft=draft), click(*clicked), config, propagate_label="Propagate").asked.object


def accepted(key, mask, frame=0, source="prompt", label="Dog"):
    return brush(f"tam-{key}-{frame}f", mask, label, frame, "prediction", meta={"tam_source": source})


def at(x, y, label="Dog", frame=0, region_id="p", positive=True):
    """A click at a pixel."""
    return point(region_id, 100 * (x + 0.5) / WIDTH, 100 * (y + 0.5) / HEIGHT, label, frame, positive)


def disc(x, y, radius):
    rows, columns = np.ogrid[:HEIGHT, :WIDTH]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def slanting():
    rows, columns = np.ogrid[:HEIGHT, :WIDTH]
    return np.abs(rows - columns / 2) < 4


RING = disc(100, 50, 40) & ~disc(100, 50, 30)
NEW = object_key("p")


@pytest.mark.parametrize(
    ("mask", "xy"),
    [
        (slanting(), (150, 20)),  # inside the bounds, far off the mask
        (RING, (100, 50)),  # in the middle of a ring
        (disc(60, 50, 12), (85, 50)),  # touching, as large
        (blob(10, 10, 110, 90), (118, 50)),  # small, touching something large
        (blob(10, 10, 60, 90) | blob(10, 80, 150, 90), (100, 40)),  # in the corner of an L
    ],
)
def test_a_thing_beside_an_accepted_one_of_the_label_is_a_new_object(mask, xy):
    assert asked([accepted("a", mask)], at(*xy)).key == NEW


@pytest.mark.parametrize(("mask", "xy"), [(slanting(), (100, 50)), (RING, (100, 15)), (blob(10, 10, 60, 60), (62, 30))])
def test_a_click_in_a_mask_or_just_beside_it_corrects_it(mask, xy):
    assert asked([accepted("a", mask)], at(*xy)).key == "a"


def test_of_two_with_overlapping_bounds_the_one_that_is_clicked_is_meant():
    other = np.flipud(slanting()) & ~slanting()
    draft = [accepted("a", slanting()), accepted("b", other)]
    assert asked(draft, at(20, 10)).key == "a"
    assert asked(draft, at(20, 89)).key == "b"


def test_objects_that_cross_keep_their_names():
    draft = [accepted("a", disc(30, 50, 9), 0), accepted("b", disc(160, 50, 9), 0)]
    draft += [accepted("a", disc(160, 50, 9), 5, "propagated"), accepted("b", disc(30, 50, 9), 5, "propagated")]
    assert asked(draft, at(160, 50, frame=5)).key == "a"
    assert asked(draft, at(30, 50, frame=5)).key == "b"


@given(st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 1), st.integers(5, 40))
def test_a_click_far_from_an_accepted_mask_never_speaks_of_it(x, y, radius):
    mask = disc(100, 50, radius)
    distance = np.hypot(x - 100, y - 50) - radius
    key = asked([accepted("a", mask)], at(x, y)).key
    if mask[y, x]:
        assert key == "a"
    elif distance > 0.025 * WIDTH + 1:
        assert key == NEW


# --- tracked, and gone ---


def tracked(*frames):
    return [accepted("a", disc(30 + 5 * frame, 50, 9), frame, "propagated" if frame else "prompt") for frame in frames]


@pytest.mark.parametrize("frame", [3, 5, 9])
def test_where_a_tracked_object_is_not_a_click_begins_a_new_one(frame):
    assert asked(tracked(0, 1, 2, 6, 7), at(150, 50, frame=frame)).key == NEW
    assert asked(tracked(0, 1, 2, 6, 7), at(45, 50, frame=frame)).key == NEW


def test_what_was_not_tracked_yet_is_continued_on_another_page():
    assert asked(tracked(0), at(150, 50, frame=5)).key == "a"


def test_a_deleted_mask_that_is_drawn_again_by_hand_is_the_same_object_and_far_off_it_is_another():
    again = brush("hand", disc(50, 52, 9), frame=3)
    found = read_task(task(draft=[*tracked(0, 1, 2, 4), again]), None, CONFIG, propagate_label="Propagate", unsaved=())
    assert found.objects == ()  # a batch call reads no drafts
    far = brush("far", disc(180, 80, 9), frame=3)
    for drawn, keys in ((again, ["a"]), (far, ["a", object_key("far")])):
        found = read_task(
            task(draft=[*tracked(0, 1, 2, 4), drawn]), click(at(1, 1, "Propagate")), CONFIG, propagate_label="Propagate"
        )
        assert [each.key for each in found.objects] == keys


# --- what people say themselves ---


def test_new_begins_an_object_even_inside_an_accepted_mask():
    draft = [accepted("a", disc(60, 50, 12))]
    found = asked(draft, at(60, 50, "New Dog"))
    assert (found.key, found.label) == (NEW, "Dog")
    assert found.on_frame(0)[0].region_id == "p"
    assert len(found.regions) == 1


def test_all_clicks_for_a_new_object_are_one_object_until_it_is_accepted():
    clicks = [at(60, 50, "New Dog"), at(70, 50, "New Dog", region_id="q"), at(9, 9, "New Dog", 4, "r", positive=False)]
    found = asked([accepted("a", disc(60, 50, 12))], *clicks)
    assert [region.region_id for region in found.regions] == ["p", "q", "r"]
    assert found.key == NEW
    # Accepted: its prompts are gone, and the next one is another.
    draft = [accepted("a", disc(60, 50, 12)), accepted(NEW, disc(70, 50, 5))]
    assert asked(draft, at(71, 50, "New Dog", region_id="s")).key == object_key("s")


def test_a_box_may_begin_a_new_object_too():
    drawn = box("b", 25, 40, 20, 30, label="New Dog")
    assert asked([accepted("a", disc(60, 50, 12))], drawn).key == object_key("b")


def test_a_new_object_beside_ordinary_clicks_of_its_label_stays_apart():
    draft = [at(20, 20, "Dog", region_id="old"), accepted("a", disc(60, 50, 12), 1)]
    found = read_task(task(draft=draft), click(at(60, 50, "New Dog")), CONFIG, propagate_label="Propagate")
    assert sorted(len(each.regions) for each in found.objects) == [1, 2]
    assert found.asked.object.key == NEW


def test_same_continues_an_object_where_it_was_lost():
    assert asked(tracked(0, 1, 2), at(150, 50, "Same Dog", 5)).key == "a"
    draft = [*tracked(0, 1, 2), accepted("b", disc(150, 50, 9), 2, "propagated")]
    assert asked(draft, at(155, 50, "Same Dog", 5)).key == "b"
    assert asked(draft, at(45, 50, "Same Dog", 5)).key == "a"


def test_same_begins_an_object_where_there_is_none():
    assert asked([], at(60, 50, "Same Dog")).label == "Dog"


def test_where_masks_have_one_label_new_object_is_enough():
    found = asked([accepted("a", disc(60, 50, 12))], at(60, 50, "New object"), config=with_gestures("Dog"))
    assert (found.key, found.label) == (NEW, "Dog")


@pytest.mark.parametrize(
    ("label", "mask_labels", "expected"),
    [
        ("New Dog", ["Dog", "Cat"], (Gesture.NEW, "Dog")),
        ("new dog", ["Dog", "Cat"], (Gesture.NEW, "Dog")),
        ("SAME Cat", ["Dog", "Cat"], (Gesture.SAME, "Cat")),
        ("New object", ["Dog"], (Gesture.NEW, "Dog")),
        ("New object", ["Dog", "Cat"], (Gesture.GUESSED, "New object")),
        ("New Dog", ["New Dog", "Dog"], (Gesture.GUESSED, "New Dog")),
        ("New York", ["Dog"], (Gesture.GUESSED, "New York")),
        ("New traffic light", ["Traffic light"], (Gesture.NEW, "Traffic light")),
        ("Newfoundland", ["Dog"], (Gesture.GUESSED, "Newfoundland")),
        (None, ["Dog"], (Gesture.GUESSED, None)),
    ],
)
def test_which_labels_are_gestures(label, mask_labels, expected):
    assert read_gesture(label, mask_labels) == expected


# --- a guess takes nothing away ---


@pytest.mark.parametrize(
    ("points", "box_xyxy", "keeps"),
    [
        ([(62, 30, True)], None, True),
        ([(62, 30, True), (64, 30, True)], None, True),
        ([(30, 30, True)], None, False),  # in the mask: it is meant, and may be cut out anew
        ([(62, 30, True), (20, 20, False)], None, False),  # something is to be taken away
        ([(62, 30, True)], (5, 5, 70, 70), False),
    ],
)
def test_a_click_beside_a_mask_adds_to_it(points, box_xyxy, keeps):
    there, found = blob(10, 10, 60, 60), blob(60, 20, 70, 40)
    result = with_what_it_adds_to(found, Prompt(1, 0, points, box_xyxy, there))
    np.testing.assert_array_equal(result, found | there if keeps else found)


def test_a_click_on_nothing_of_the_object_is_answered_as_it_is():
    found = blob(60, 20, 70, 40)
    np.testing.assert_array_equal(with_what_it_adds_to(found, Prompt(1, 0, [(62, 30, True)])), found)


# --- what a click costs ---


def test_a_click_decodes_only_the_masks_that_it_may_speak_of():
    draft = [accepted(key, blob(x, 10, x + 20, 60), frame) for frame in range(9) for key, x in (("a", 10), ("b", 90))]
    sent = {(key, frame): ["0" * 16] for key in "ab" for frame in range(9)}
    found = read_task(task(draft=draft), click(at(20, 30, frame=4)), CONFIG, propagate_label="Propagate", sent=sent)
    masks = [region for each in found.objects for region in each.regions if region.is_mask]
    decoded = {mask.region_id for mask in masks if "encoded_mask" in mask.__dict__}
    assert decoded == {"tam-a-4f"}


# --- what labels objects can have ---

FRAMES = '<Image name="frames" valueList="$frames"/>'
POINT = '<KeyPointLabels name="point" toName="frames" smart="true">{}</KeyPointLabels>'


def labels_of(*tags):
    config = parse_config("<View>" + FRAMES + "".join(tags) + "</View>")
    return object_labels(config, config.media[0])


def test_objects_have_the_labels_of_the_tags_for_masks_as_the_page_shows_them():
    masks = '<BrushLabels name="mask" toName="frames"><Label value="Car" alias="1"/><Label value="Bus"/></BrushLabels>'
    other = '<BitmaskLabels name="more" toName="frames"><Label value="Tram"/></BitmaskLabels>'
    assert labels_of(masks, other, POINT.format('<Label value="Horse"/>')) == ("Car", "Bus", "Tram")


def test_where_masks_take_any_label_objects_have_those_of_the_prompts_but_for_gestures():
    prompts = POINT.format('<Label value="New Car"/><Label value="Car"/><Label value="Same bus"/><Label value="Bus"/>')
    assert labels_of('<Brush name="mask" toName="frames"/>', prompts) == ("Car", "Bus")


ALIAS = parse_config(
    "<View>"
    + FRAMES
    + '<BrushLabels name="mask" toName="frames"><Label value="Dog" alias="17"/></BrushLabels>'
    + POINT.format('<Label value="Dog"/><Label value="New Dog"/><Label value="Propagate"/>')
    + "</View>"
)


def test_what_the_page_shows_tells_objects_apart_not_how_a_tag_writes_it():
    there = accepted("a", disc(60, 50, 20), label="17")
    for draft in ([{**there, "from_name": "mask"}],):
        assert asked(draft, at(60, 50), config=ALIAS).key == "a"
        begun = asked(draft, at(60, 50, label="New Dog"), config=ALIAS)
        assert (begun.key, begun.label) == (NEW, "Dog")
