"""Which regions of a task are the same object."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ls_json import CONFIG, blob, box, brush, point, video_box

from tam_backend.labelstudio.ids import object_key, parse_result_id, result_id
from tam_backend.labelstudio.objects import group_objects
from tam_backend.labelstudio.regions import read_regions


def objects(*results):
    """The ids of every object's regions."""
    found = group_objects(read_regions(list(results), CONFIG))
    assert [obj.object_id for obj in found] == list(range(1, len(found) + 1))
    assert len({obj.key for obj in found}) == len(found)
    return [[region.region_id for region in obj.regions] for obj in found]


LEFT, RIGHT = blob(10, 10, 60, 60), blob(140, 10, 190, 60)
LEFT_LATER, RIGHT_LATER = blob(20, 15, 70, 65), blob(130, 15, 180, 65)


@given(
    st.from_regex(r"[0-9a-z]{1,16}", fullmatch=True), st.integers(0, 99_999_999), st.sampled_from(["", "#1", "-x", "7"])
)
def test_key_and_frame_can_be_read_back(key, frame, suffix):
    assert parse_result_id(result_id(key, frame) + suffix) == (key, frame)
    assert object_key(result_id(key, frame) + suffix) == key


@given(st.text())
def test_any_id_makes_a_key_that_fits_ids(region_id):
    key = object_key(region_id)
    assert parse_result_id(result_id(key, 3)) == (key, 3)


def test_other_peoples_ids_are_not_ours():
    for region_id in ("", "tam-", "tam-a-", "tam-A-1f", "xtam-a-1f", "tam-a-1", "h_kmEj37TG"):
        assert parse_result_id(region_id) is None


def test_regions_of_ours_are_grouped_by_key():
    assert objects(
        brush("tam-a-0f", LEFT),
        brush("tam-b-0f", RIGHT),
        brush("tam-a-1f#9", RIGHT, frame=1),
        brush("tam-a-0f-2", LEFT),
    ) == [["tam-a-0f", "tam-a-1f#9", "tam-a-0f-2"], ["tam-b-0f"]]


def test_one_label_on_several_frames_is_one_object():
    assert objects(brush("x", LEFT), brush("y", RIGHT, frame=1)) == [["x", "y"]]


def test_two_labels_are_two_objects():
    assert objects(brush("x", LEFT), brush("y", RIGHT, label="Cat", frame=1)) == [["x"], ["y"]]


def test_one_label_twice_on_a_frame_is_two_objects():
    assert objects(brush("x", LEFT), brush("y", RIGHT)) == [["x"], ["y"]]


@pytest.mark.parametrize("swapped", [False, True])
def test_several_of_one_label_are_matched_across_frames_by_where_they_are(swapped):
    later = [brush("l1", LEFT_LATER, frame=1), brush("r1", RIGHT_LATER, frame=1)]
    if swapped:
        later.reverse()
    assert objects(brush("l0", LEFT), brush("r0", RIGHT), *later) == [["l0", "l1"], ["r0", "r1"]]


def test_a_mask_drawn_where_ours_is_missing_joins_our_object():
    assert objects(
        brush("tam-a-0f", LEFT), brush("tam-b-0f", RIGHT), brush("tam-a-1f", LEFT, frame=1), brush("x", LEFT, frame=1)
    ) == [["tam-a-0f", "tam-a-1f"], ["tam-b-0f", "x"]]


def test_a_mask_drawn_beside_all_of_ours_is_a_new_object():
    assert objects(brush("tam-a-0f", LEFT), brush("x", RIGHT)) == [["tam-a-0f"], ["x"]]


def test_boxes_are_objects_like_masks():
    assert objects(
        box("l0", 5, 10, 25, 50),
        box("r0", 70, 10, 25, 50),
        box("r1", 65, 15, 25, 50, frame=1),
        box("l1", 9, 15, 25, 50, frame=1),
    ) == [["l0", "l1"], ["r0", "r1"]]


def test_a_box_over_a_mask_speaks_of_it():
    assert objects(brush("tam-a-0f", LEFT), brush("tam-b-0f", RIGHT), box("x", 71, 11, 24, 49)) == [
        ["tam-a-0f"],
        ["tam-b-0f", "x"],
    ]


def test_a_box_drawn_again_speaks_of_the_same_object():
    assert objects(box("x", 5, 10, 25, 50), box("y", 6, 11, 25, 50)) == [["x", "y"]]


def test_all_points_of_a_label_on_a_frame_are_one_prompt():
    assert objects(point("p", 10, 10), point("q", 90, 90), point("n", 50, 50, positive=False)) == [["p", "q", "n"]]


def test_points_on_another_frame_continue_the_only_object_of_their_label():
    assert objects(point("p", 10, 10, frame=1), point("q", 90, 90, frame=0)) == [["p", "q"]]
    assert objects(brush("tam-a-0f", LEFT), point("q", 90, 90, frame=3)) == [["tam-a-0f", "q"]]


def test_points_on_another_frame_begin_an_object_where_it_is_not_clear_which_they_continue():
    assert objects(brush("x", LEFT), brush("y", RIGHT), point("q", 90, 90, frame=3)) == [["x"], ["y"], ["q"]]


def test_a_point_in_or_near_a_mask_corrects_that_object():
    for x in (20, 32):  # inside; just outside, where a part is missing
        assert objects(brush("tam-a-0f", LEFT), brush("tam-b-0f", RIGHT), point("p", x, 30)) == [
            ["tam-a-0f", "p"],
            ["tam-b-0f"],
        ]


def test_a_point_in_a_box_belongs_to_it_whichever_came_first():
    assert objects(point("p", 10, 20), box("x", 5, 10, 25, 50)) == [["p", "x"]]


def test_a_point_far_from_all_masks_of_its_label_begins_an_object():
    assert objects(brush("tam-a-0f", LEFT), point("p", 90, 90)) == [["tam-a-0f"], ["p"]]


def test_a_negative_point_never_begins_an_object_where_there_is_one():
    assert objects(brush("tam-a-0f", LEFT), point("p", 90, 90, positive=False)) == [["tam-a-0f", "p"]]


def test_a_label_of_its_own_keeps_a_point_from_a_mask_of_another():
    assert objects(brush("tam-a-0f", LEFT), point("p", 20, 30, label="Cat")) == [["tam-a-0f"], ["p"]]


def test_an_empty_mask_is_near_nothing():
    assert objects(brush("tam-a-0f", blob(0, 0, 0, 0)), point("p", 20, 30)) == [["tam-a-0f"], ["p"]]


def test_the_key_is_that_of_the_first_region_drawn():
    regions = read_regions([point("p", 10, 20), box("x", 5, 10, 25, 50)], CONFIG)
    assert group_objects(regions)[0].key == object_key("p")
    assert group_objects(regions[:1])[0].key == object_key("p")


def test_every_video_box_is_an_object_with_its_own_id():
    regions = read_regions([video_box("v", [(1, 1, 1, 5, 5)]), video_box("w", [(1, 1, 1, 5, 5)])], CONFIG)
    assert [obj.region_id for obj in group_objects(regions)] == ["v", "w"]


def test_frames_that_a_human_drew_on():
    regions = read_regions(
        [
            brush("tam-a-0f", LEFT, origin="prediction"),
            brush("tam-a-1f", LEFT, frame=1, origin="prediction-changed"),
            brush("x", LEFT, frame=2),
            point("p", 20, 30, frame=3),
        ],
        CONFIG,
    )
    (obj,) = group_objects(regions)
    assert obj.human_frames == {1, 2}
    assert [region.region_id for region in obj.on_frame(2)] == ["x"]


drawn = st.one_of(
    st.builds(
        lambda i, f, x, y: brush(i, blob(x, y, x + 20, y + 20), frame=f),
        st.sampled_from(["a", "b", "tam-k-0f", "tam-k-1f", "tam-m-0f"]),
        st.integers(0, 3),
        st.integers(0, 150),
        st.integers(0, 70),
    ),
    st.builds(
        lambda i, f, x, y, p: point(i, x, y, frame=f, positive=p),
        st.text(max_size=3),
        st.integers(0, 3),
        st.integers(0, 100),
        st.integers(0, 100),
        st.booleans(),
    ),
    st.builds(lambda i, f, x, y: box(i, x, y, 20, 20, frame=f), st.text(max_size=3), *[st.integers(0, 3)] * 3),
)


@given(st.lists(drawn, max_size=10))
def test_every_region_is_in_exactly_one_object_and_the_grouping_is_stable(results):
    regions = read_regions(results, CONFIG)
    found = group_objects(regions)
    assert sorted(id(region) for obj in found for region in obj.regions) == sorted(map(id, regions))
    again = group_objects(read_regions(results, CONFIG))
    assert [(obj.key, len(obj.regions)) for obj in found] == [(obj.key, len(obj.regions)) for obj in again]
