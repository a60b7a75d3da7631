"""The simulated annotator, the ways to choose a frame, and the curves of what clicks bring."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from colour_models import ColourModels
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from synthetic import MovingDiscs

from benchmarks import loop
from benchmarks.annotator import PATIENCE, visit
from benchmarks.clips import AnnotatedClip, find_clips
from benchmarks.kept_encodings import with_kept_encodings
from benchmarks.loop import Curve, gain_over, mean_curve, objects_of
from benchmarks.loop_choices import CHOICES, Scene
from benchmarks.loop_tasks import after_clicks
from tam_backend import Prompt, Session, TrackAnything

VIDEO = MovingDiscs(frames=16)


@pytest.fixture
def session() -> Iterator[Session]:
    """A disc that is tracked from frame 4."""
    with TrackAnything(ColourModels().models()).session(VIDEO) as session:
        session.prompt(Prompt(object_id=1, frame=4, mask=VIDEO.truth(4)))
        list(session.propagate())
        yield session


@pytest.fixture
def clip(tmp_path: Path) -> AnnotatedClip:
    for name in ("JPEGImages", "Annotations"):
        (tmp_path / "discs" / name).mkdir(parents=True)
    for frame in range(len(VIDEO)):
        Image.fromarray(VIDEO[frame]).save(tmp_path / "discs" / "JPEGImages" / f"{frame:03d}.jpg", quality=95)
        Image.fromarray(VIDEO.truth(frame).astype(np.uint8)).save(
            tmp_path / "discs" / "Annotations" / f"{frame:03d}.png"
        )
    [clip] = find_clips([tmp_path])
    return clip


def half(frame: int) -> np.ndarray:
    mask = VIDEO.truth(frame)
    mask[:, : int(VIDEO.centre(frame)[0])] = False
    return mask


def scene(session: Session, done: set[int], seed: int = 0) -> Scene:
    truth = {frame: VIDEO.truth(frame) for frame in range(16) if frame != 4}
    return Scene(session, 1, truth, done, random.Random(seed))


def test_a_look_at_a_good_mask_costs_a_click_and_changes_nothing(session: Session) -> None:
    assert visit(session, 1, 9, VIDEO.truth(9)) == 1
    assert list(session.keyframes(1)) == [4]


def test_a_wrong_mask_is_clicked_until_it_is_good(session: Session) -> None:
    session.paint(1, 9, erase=half(9))
    list(session.update())
    assert 1 <= visit(session, 1, 9, VIDEO.truth(9)) <= PATIENCE
    assert np.array_equal(session.keyframes(1)[9].array, VIDEO.truth(9))


def test_clicks_that_leave_the_mask_mostly_wrong_are_taken_back(session: Session) -> None:
    """No colour tells the ground's pixels from one another: whatever is clicked, the disc's or all of it comes."""
    truth = np.zeros(VIDEO.size_hw, bool)
    truth[:4, :4] = True
    assert visit(session, 1, 9, truth) == PATIENCE
    assert list(session.keyframes(1)) == [4]


def test_a_mask_of_what_cannot_be_seen_is_erased_at_once(session: Session) -> None:
    assert visit(session, 1, 9, np.zeros(VIDEO.size_hw, bool)) == 1
    assert not session.keyframes(1)[9].array.any()


@pytest.mark.parametrize("name", CHOICES)
def test_every_way_chooses_until_no_frame_is_left(session: Session, name: str) -> None:
    done: set[int] = set()
    while len(done) < 15:
        frame = CHOICES[name](scene(session, done))
        assert frame not in {4, *done}
        done.add(frame)


def test_spread_goes_where_nothing_was_seen(session: Session) -> None:
    assert CHOICES["spread"](scene(session, set())) == 15
    assert CHOICES["spread"](scene(session, {15})) in (9, 10)


def test_truth_finds_what_no_quality_shows(session: Session) -> None:
    seen = scene(session, set())
    wrong = Scene(seen.session, 1, {**seen.truth, 12: half(12)}, set(), seen.rng)
    assert CHOICES["truth"](wrong) == 12


def test_chance_is_the_same_in_every_run(session: Session) -> None:
    assert CHOICES["random"](scene(session, set(), 3)) == CHOICES["random"](scene(session, set(), 3))
    assert len({CHOICES["random"](scene(session, set(), seed)) for seed in range(20)}) > 5


@given(st.floats(0, 100), st.lists(st.tuples(st.integers(1, 3), st.floats(0, 100)), max_size=8), st.integers(1, 12))
def test_a_visit_counts_when_its_last_click_is_paid(
    before: float, visits: list[tuple[int, float]], clicks: int
) -> None:
    scores = after_clicks(before, visits, clicks)
    assert len(scores) == clicks + 1
    for paid in range(clicks + 1):
        spent, last = 0, before
        for cost, after in visits:
            spent += cost
            if spent <= paid:
                last = after
        assert scores[paid] == last


def test_a_clip_of_many_objects_counts_as_much_as_any_other() -> None:
    mine = [Curve("one", 1, (50, 60), 0.5), *(Curve("many", each, (50, 54), 0.5) for each in range(1, 5))]
    random_ones = [Curve(each.clip, each.object_id, (50, 50), 0.5) for each in mine]
    assert gain_over(mine, random_ones).mean == pytest.approx((10 + 4) / 2)


def test_tries_of_one_object_are_averaged() -> None:
    assert mean_curve([Curve("c", 1, (50, 60), 0.2), Curve("c", 1, (50, 80), 0.4)]).scores == (50, 70)


def test_objects_with_few_true_masks_are_left_out(clip: AnnotatedClip) -> None:
    few = AnnotatedClip("few", clip.frames, {at: clip.masks[at] for at in (0, 3, 6)})
    assert objects_of([few, clip], most=3) == [(clip, 1)]
    assert objects_of([clip], most=0) == []


def test_kept_encodings_change_no_mask_and_spare_what_was_encoded(clip: AnnotatedClip) -> None:
    """The packaged networks at a small size."""
    plain = TrackAnything.load("compact", tracker_side=96)
    keeping, encodings = with_kept_encodings(plain)
    masks = []
    for tam in (plain, keeping, keeping):
        with tam.session(VIDEO) as session:
            session.prompt(Prompt(object_id=1, frame=0, mask=VIDEO.truth(0)))
            masks.append([result.masks[1] for result in session.propagate()])
    assert np.array_equal(masks[0], masks[1])
    assert np.array_equal(masks[0], masks[2])
    assert len(encodings.kept) == len(VIDEO)


@pytest.mark.parametrize("start", ["mask", "click"])
def test_the_command_prints_every_way_beside_random(
    clip: AnnotatedClip, start: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        loop.TrackAnything, "load", lambda *_arguments, **_named: TrackAnything(ColourModels().models())
    )
    loop.main([str(clip.frames[0].parent.parent), "--clicks", "2", "--start", start, "--seeds", "2"])
    printed = capsys.readouterr().out
    assert f"1 objects, colour-1, from one {start}" in printed
    lines = [line.split() for line in printed.splitlines()]
    assert [len(line) for line in lines if line[:2] == ["discs", "1"]] == [2 + len(CHOICES)]
    for name in CHOICES:
        [curve] = [line for line in lines if line[:1] == [name] and line[-1].endswith("%")]
        assert float(curve[1]) > 90
    assert sum("better on 0 of 1 objects" in line for line in printed.splitlines()) == len(CHOICES) - 1
