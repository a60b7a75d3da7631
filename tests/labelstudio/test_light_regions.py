"""Regions that hold no pixels say the same as those that do."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from ls_json import BITMASK_CONFIG, CONFIG, HW, bitmask, blob, box, brush, point

from tam_backend.labelstudio.config import LabelingConfig
from tam_backend.labelstudio.encoding import encode_brush
from tam_backend.labelstudio.labelled import labelled
from tam_backend.labelstudio.light_regions import LightRegion, light_regions, moved
from tam_backend.labelstudio.objects import group_objects
from tam_backend.labelstudio.regions import read_regions


def read(results: list, config: LabelingConfig = CONFIG) -> tuple[LightRegion, ...]:
    faults: list = []
    regions, _ = light_regions(iter(results), config, faults)
    assert faults == []
    return regions


@given(mask=npst.arrays(bool, st.tuples(st.integers(1, 20), st.integers(1, 20))))
@settings(max_examples=100, deadline=None)
def test_a_brush_mask_keeps_every_pixel(mask: np.ndarray) -> None:
    result = brush("a", blob(0, 0, 1, 1))
    height, width = mask.shape
    result |= {"original_width": width, "original_height": height}
    result["value"] = {"rle": encode_brush(mask), "brushlabels": ["Dog"]}
    [region] = read([result])
    assert np.array_equal(region.mask, mask)
    assert region.encoded is None


def test_light_regions_say_what_full_ones_say() -> None:
    results = [
        brush("a", blob(10, 10, 60, 50), frame=2, score=0.5),
        {**brush("a", blob(10, 10, 60, 50)), "type": "choices", "value": {"choices": ["x"]}},
        point("p", 5, 5),
        box("b", 10, 10, 20, 20, label="Cat"),
    ]
    light, full = read(results), read_regions(results, CONFIG)
    for a, b in zip(light, full, strict=True):
        told = [(r.region_id, r.label, r.frame, r.score, r.bounds, r.attributes, r.is_humans_mask) for r in (a, b)]
        assert told[0] == told[1]
    assert np.array_equal(light[0].mask, full[0].mask)
    grouped = [[[r.region_id for r in each.regions] for each in group_objects(found)] for found in (light, full)]
    assert grouped[0] == grouped[1]


def test_strokes_of_a_brush_that_are_not_merged_yet_are_part_of_it() -> None:
    result = brush("a", blob(10, 10, 20, 20))
    stroke = {"type": "add", "relativePoints": [50, 50, 70, 50], "relativeStrokeWidth": 5}
    result["value"]["touches"] = [stroke]
    [light], [full] = read([result]), read_regions([result], CONFIG)
    assert np.array_equal(light.mask, full.mask)
    assert light.mask.sum() > 100


def test_bitmasks_are_read_and_a_damaged_one_leaves_the_others() -> None:
    mask = blob(3, 4, 50, 60)
    damaged = bitmask("bad", mask)
    damaged["value"]["imageDataURL"] = "data:image/png;base64,AAAA"
    faults: list = []
    [region], _ = light_regions([damaged, bitmask("good", mask)], BITMASK_CONFIG, faults)
    assert region.region_id == "good"
    assert np.array_equal(region.mask, mask)
    assert [fault.region_id for fault in faults] == ["bad"]


def test_an_empty_mask_has_no_bounds_and_moving_changes_the_frame_only() -> None:
    [region] = read([brush("a", np.zeros(HW, bool), frame=3)])
    assert region.bounds is None
    later = moved(region, 50)
    assert (later.frame, later.region_id, later.runs) == (53, "a", region.runs)


def test_an_export_obeys_what_people_said_of_objects():
    def ours(key, frame, x):
        meta = {"tam_source": "propagated"}
        return brush(f"tam-{key}-{frame}f", blob(x, 10, x + 20, 30), "Dog", frame, "prediction", meta=meta)

    def relation(one, other, label):
        return {"type": "relation", "from_id": one, "to_id": other, "labels": [label]}

    def objects(*relations):
        results = [ours(key, frame, 10 + 100 * (key == "b")) for key in "ab" for frame in range(4)]
        regions, identity = light_regions([*results, *relations], CONFIG, [])
        found = labelled(regions, {}, same=identity.same)
        return {
            frame: tuple(sorted((number, region.own_key) for number, region in there))
            for frame, there in found.by_frame.items()
        }

    assert objects() == dict.fromkeys(range(4), ((1, "a"), (2, "b")))
    swapped = objects(relation("tam-a-2f", "tam-b-2f", "Swap from here"))
    assert swapped == {**dict.fromkeys((0, 1), ((1, "a"), (2, "b"))), **dict.fromkeys((2, 3), ((1, "b"), (2, "a")))}
    assert objects(relation("tam-a-0f", "tam-b-3f", "Same object")) == dict.fromkeys(range(4), ((1, "a"), (1, "b")))
