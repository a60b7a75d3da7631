"""Sources of training: photographs and films with ids, how often each is drawn, clips of films, and packing."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from training.filmed import FilmedClips
from training.packing import pack, unpack_films, unpack_images
from training.photographs import Film, film_stills, load_films, load_photographs
from training.pictures import load_pictures, read_sources, weigh
from training.smoke import write_data
from training.tracker import TrackerConfig


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_data(folder)
    return folder


def config(data: Path, **changes: object) -> TrackerConfig:
    paths = {name: str(data / name) for name in ("photos", "videos", "cutouts", "cache")}
    settings = {"splits": ["train"], "foregrounds": str(data / "salient"), "agreed": 0.0, **paths, **changes}
    return TrackerConfig(output="", data=str(data / "bsds500"), **settings)  # type: ignore[arg-type]


def masks_at(folder: Path, name: str, ids: np.ndarray) -> Path:
    for kind in ("images", "masks"):
        (folder / name / kind).mkdir(parents=True)
    cv2.imwrite(str(folder / name / "images" / "a.jpg"), np.zeros((*ids.shape, 3), np.uint8))
    cv2.imwrite(str(folder / name / "masks" / "a.png"), ids)
    return folder


def test_every_instance_is_a_thing_and_grounds_and_crowds_are_none(tmp_path: Path) -> None:
    ids = np.zeros((40, 60), np.uint8)
    ids[5:20, 5:20], ids[25:35, 5:20], ids[:, 30:40], ids[:, 50:] = 1, 7, 200, 255
    (photograph,) = load_photographs(masks_at(tmp_path, "coco", ids))
    assert [segment.region_ids for segment in photograph.segments] == [(1,), (7,)]
    assert all(segment.taught for segment in photograph.segments)
    assert np.array_equal(photograph.mask(photograph.segments[1]) > 0, ids == 7)


def test_parts_are_parts_and_all_together_the_thing(tmp_path: Path) -> None:
    ids = np.zeros((40, 60), np.uint8)
    ids[5:20, 5:20], ids[20:35, 5:20] = 3, 41
    (photograph,) = load_photographs(masks_at(tmp_path, "ccp251", ids))
    assert [(s.region_ids, s.taught) for s in photograph.segments] == [((3,), False), ((41,), False), ((3, 41), True)]


def test_missing_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        load_photographs(tmp_path)
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        load_films(tmp_path)
    folder = masks_at(tmp_path, "coco", np.ones((8, 8), np.uint8))
    (folder / "coco" / "masks" / "a.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"a\.png"):
        load_photographs(folder)


def test_films_kept_for_validation_are_left_out(data: Path, tmp_path: Path) -> None:
    assert [film.name for film in load_films(data / "videos")] == ["film"]
    assert load_films(data / "videos", without=frozenset({"film"})) == []
    held_out = tmp_path / "videos"
    held_out.mkdir()
    for name in ("davis_tennis", "film"):
        (held_out / name).symlink_to(data / "videos" / "film")
    assert [film.name for film in read_sources(config(data, videos=str(held_out))).films] == ["film"]


def test_clips_of_films_show_the_film_with_its_objects(data: Path) -> None:
    films = load_films(data / "videos")
    clips = list(islice(FilmedClips(films, 64, 3, 5), 30))
    assert {tuple(np.unique(clip.labels)) for clip in clips} >= {(0, 1)}
    for clip in clips:
        assert clip.frames.shape == (3, 64, 64, 3)
        assert (clip.labels[0] == 1).any()
    again = list(islice(FilmedClips(films, 64, 3, 5), 30))
    assert all(np.array_equal(a.frames, b.frames) for a, b in zip(clips, again, strict=True))
    # The disc is bright, the square dark: whichever object 1 is, its pixels are of one kind.
    brightness = [clip.frames[0][clip.labels[0] == 1].mean() for clip in clips]
    assert max(brightness) > 150
    assert min(brightness) < 90


def test_a_film_shorter_than_a_clip_gives_none(data: Path) -> None:
    with pytest.raises(ValueError, match="7 frames"):
        FilmedClips(load_films(data / "videos"), 64, 7, 0)


def test_shares_say_how_often_a_source_is_drawn_whatever_its_size() -> None:
    weights = weigh({"bsds500": 4, "photos": 1}, {"bsds500": 1, "photos": 3})
    assert weights.tolist() == pytest.approx([1 / 16] * 4 + [3 / 4])
    assert weigh({"bsds500": 4, "photos": 1}, {}).tolist() == pytest.approx([0.2] * 5)
    assert weigh({"bsds500": 1, "photos": 1}, {"photos": 1}).tolist() == [0, 1]
    with pytest.raises(ValueError, match="stamps"):
        weigh({"bsds500": 4}, {"stamps": 1})
    with pytest.raises(ValueError, match="nothing to draw"):
        weigh({"bsds500": 4}, {"bsds500": 0})


def test_a_config_brings_all_its_sources_together(data: Path) -> None:
    pictures = load_pictures(config(data, shares={"bsds500": 0.5, "videos": 0.5}))
    assert len(pictures.photographs) == len(pictures.weights) == 2 + 2 + 6
    assert pictures.weights[2:4].sum() == 0
    assert pictures.weights[4:].sum() == pytest.approx(0.5)
    assert len(pictures.cutouts) == 2
    # The marked disc is one more annotator's, after the one who cut the picture up.
    assert [s.annotator for s in pictures.photographs[0].segments if s.taught] == [1]


def test_packed_sources_are_the_same_but_for_what_jpeg_loses(data: Path, tmp_path: Path) -> None:
    sources = read_sources(config(data))
    for name, own in [*sources.photographs.items(), ("cutouts", sources.cutouts), ("videos", sources.films)]:
        pack(tmp_path, name, own, quality=95)
    packed = read_sources(config(data, packed=str(tmp_path)))
    assert packed.photographs.keys() == sources.photographs.keys()
    images = [image for own in (*sources.photographs.values(), sources.cutouts) for image in own]
    for image, again in zip(
        images, [i for own in (*packed.photographs.values(), packed.cutouts) for i in own], strict=True
    ):
        assert again.segments == image.segments
        assert all(np.array_equal(a, b) for a, b in zip(again.regions, image.regions, strict=True))
        assert np.abs(again.image.astype(int) - image.image).mean() < 6
    assert isinstance(packed.films[0], Film)
    assert np.array_equal(packed.films[0].labels, sources.films[0].labels)
    assert len(film_stills(packed.films)) == 6
    assert unpack_images(tmp_path / "nowhere", "photos") == unpack_films(tmp_path / "nowhere", "videos") == []
