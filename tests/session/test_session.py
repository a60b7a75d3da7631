"""What a session promises: prompts make keyframes, propagation covers every frame, a human's mask is law."""

from __future__ import annotations

import numpy as np
import pytest
from colour_models import ColourModels
from synthetic import MovingDiscs, iou

from tam_backend.engine import TrackAnything
from tam_backend.errors import (
    EmptyVideoError,
    FrameOutOfRangeError,
    InvalidInputError,
    InvalidPromptError,
    PromptOffFrameError,
)
from tam_backend.session.session import Session
from tam_backend.types import Prompt

TWO = MovingDiscs(starts_xy=((20, 30), (100, 70)), steps_xy=((5, 1), (-4, 0)))


@pytest.fixture
def colours() -> ColourModels:
    return ColourModels()


def session_on(video: MovingDiscs, colours: ColourModels) -> Session:
    return TrackAnything(colours.models()).session(video)


def click(video: MovingDiscs, object_id: int, frame: int, disc: int = 1, **more: object) -> Prompt:
    return Prompt(object_id=object_id, frame=frame, points=[(*video.centre(frame, disc), True)], **more)  # type: ignore[arg-type]


def test_a_click_answers_with_the_mask_and_its_quality(colours: ColourModels) -> None:
    video = MovingDiscs()
    mask = session_on(video, colours).prompt(click(video, 1, 3))
    assert iou(mask.array, video.truth(3)) > 0.95
    assert mask.quality == pytest.approx(0.9)
    assert mask.area == video.truth(3).sum()
    assert np.asarray(mask).shape == mask.shape == video.size_hw


def test_a_frame_is_encoded_once_for_many_clicks(colours: ColourModels) -> None:
    video = MovingDiscs()
    session = session_on(video, colours)
    for _ in range(3):
        session.prompt(click(video, 1, 3))
    assert colours.segmenter.encoded == 1


def test_points_on_the_same_frame_add_up(colours: ColourModels) -> None:
    video = MovingDiscs()
    session = session_on(video, colours)
    session.prompt(click(video, 1, 0))
    x, y = video.centre(0)
    mask = session.prompt(Prompt(object_id=1, frame=0, points=[(x + 2, y, False)]))
    assert 0 < mask.area < video.truth(0).sum()
    assert not mask.array[:, int(x) + 2 :].any()


def test_cleared_prompts_no_longer_count(colours: ColourModels) -> None:
    video = MovingDiscs()
    session = session_on(video, colours)
    session.prompt(click(video, 1, 0))
    session.prompt(Prompt(object_id=1, frame=2, points=[(*video.centre(2), True)]))
    session.clear(1, 0)
    assert list(session.keyframes(1)) == [2]
    with pytest.raises(InvalidInputError, match="no prompt on frame 0"):
        session.clear(1, 0)


def test_a_mask_alone_is_taken_as_it_is(colours: ColourModels) -> None:
    video = MovingDiscs()
    drawn = np.zeros(video.size_hw, bool)
    drawn[5:9, 5:50] = True
    mask = session_on(video, colours).prompt(Prompt(object_id=1, frame=0, mask=drawn * 255))
    assert np.array_equal(mask.array, drawn)
    assert mask.quality == 1.0
    assert colours.segmenter.encoded == 0


def test_a_mask_beside_points_is_a_hint_to_the_segmenter(colours: ColourModels) -> None:
    video = MovingDiscs()
    x, y = video.centre(0)
    mask = session_on(video, colours).prompt(
        Prompt(object_id=1, frame=0, mask=video.truth(0), points=[(x + 5, y, False)])
    )
    assert 0 < mask.area < video.truth(0).sum()


def test_a_box_prompts_too_and_may_hang_over_the_edge(colours: ColourModels) -> None:
    video = MovingDiscs(starts_xy=((8, 40),))
    mask = session_on(video, colours).prompt(Prompt(object_id=1, frame=0, box=(-6, 26, 22, 54)))
    assert iou(mask.array, video.truth(0)) > 0.95


def test_propagation_yields_every_frame_once_and_follows_the_object(colours: ColourModels) -> None:
    video = MovingDiscs()
    session = session_on(video, colours)
    session.prompt(click(video, 1, 0))
    results = list(session.propagate())
    assert [result.frame for result in results] == list(range(12))
    for result in results:
        assert iou(result.masks[1], video.truth(result.frame)) > 0.8
        assert 0 <= result.quality[1] <= 1
    assert results[0].source[1] == "prompt"
    assert results[1].source[1] == "propagated"


def test_propagation_goes_backward_from_a_keyframe_in_the_middle(colours: ColourModels) -> None:
    video = MovingDiscs()
    session = session_on(video, colours)
    session.prompt(click(video, 1, 7))
    results = list(session.propagate())
    assert [result.frame for result in results] == [7, 8, 9, 10, 11, 6, 5, 4, 3, 2, 1, 0]
    assert all(iou(result.masks[1], video.truth(result.frame)) > 0.8 for result in results)


def test_an_object_prompted_later_is_tracked_back_and_every_result_holds_all_objects(colours: ColourModels) -> None:
    session = session_on(TWO, colours)
    session.prompt(click(TWO, 1, 2, disc=1))
    session.prompt(click(TWO, 2, 8, disc=2))
    results = {result.frame: result for result in session.propagate()}
    assert sorted(results) == list(range(12))
    for frame, result in results.items():
        assert set(result.masks) == {1, 2}
        for disc in (1, 2):
            visible = TWO.truth(frame, disc) & ~TWO.truth(frame, 2) if disc == 1 else TWO.truth(frame, 2)
            assert iou(result.masks[disc], visible) > 0.75, (frame, disc)
    assert results[8].source == {1: "propagated", 2: "prompt"}


def test_masks_of_predicted_objects_never_overlap(colours: ColourModels) -> None:
    session = session_on(TWO, colours)
    session.prompt(click(TWO, 1, 0, disc=1))
    session.prompt(click(TWO, 2, 11, disc=2))
    for result in session.propagate():
        assert not (result.masks[1] & result.masks[2]).any()


def test_a_humans_mask_comes_back_bit_for_bit_on_every_keyframe(colours: ColourModels) -> None:
    video = MovingDiscs()
    session = session_on(video, colours)
    session.prompt(click(video, 1, 0))
    drawn = video.truth(6).copy()
    drawn[::2] = False
    session.prompt(Prompt(object_id=1, frame=6, mask=drawn))
    results = {result.frame: result for result in session.propagate()}
    assert np.array_equal(results[6].masks[1], drawn)
    assert results[6].quality[1] == 1.0


def test_a_mask_given_whole_keeps_every_pixel_against_what_a_click_makes(colours: ColourModels) -> None:
    video = MovingDiscs()
    session = session_on(video, colours)
    half = video.truth(3).copy()
    half[:, : int(video.centre(3)[0])] = False
    session.prompt(Prompt(object_id=1, frame=3, mask=half))
    session.prompt(click(video, 2, 3))
    result = next(session.propagate())
    assert np.array_equal(result.masks[1], half)
    assert np.array_equal(result.masks[2], video.truth(3) & ~half)


def test_the_next_keyframe_is_memorised_ahead_and_only_once(colours: ColourModels) -> None:
    video = MovingDiscs()
    session = session_on(video, colours)
    for frame in (0, 5, 9):
        session.prompt(click(video, 1, frame))
    list(session.propagate())
    (tracker,) = colours.trackers
    assert tracker.memorised == [(1,), (1,)]
    given = [(at, permanent) for at, (ids, permanent) in enumerate(tracker.tracked) if ids is not None]
    assert given == [(0, True), (5, False), (9, False)]


def test_an_absent_object_has_an_empty_mask_and_a_verdict(colours: ColourModels) -> None:
    video = MovingDiscs(starts_xy=((30, 40),), steps_xy=((30, 0),))
    session = session_on(video, colours)
    session.prompt(click(video, 1, 0))
    last = list(session.propagate())[-1]
    assert not last.masks[1].any()
    assert last.quality[1] > 0.5


def test_only_the_asked_range_is_yielded_but_tracking_begins_at_the_keyframe(colours: ColourModels) -> None:
    video = MovingDiscs()
    session = session_on(video, colours)
    session.prompt(click(video, 1, 2))
    assert [result.frame for result in session.propagate(5, 8)] == [5, 6, 7]
    assert len(colours.trackers[-1].tracked) == 6
    session.remove(1)
    session.prompt(click(video, 1, 9))
    assert [result.frame for result in session.propagate(3, 6)] == [5, 4, 3]


def test_propagation_is_lazy_and_closing_it_cancels(colours: ColourModels) -> None:
    video = MovingDiscs(frames=500)
    session = session_on(video, colours)
    session.prompt(click(video, 1, 0))
    running = session.propagate()
    assert video.reads == 1
    next(running)
    next(running)
    running.close()  # type: ignore[attr-defined]
    # Two were shown; where another thread tracks, it is up to three ahead, and reads two further.
    assert video.reads <= 10
    assert next(running, None) is None


def test_memory_does_not_keep_the_video(colours: ColourModels) -> None:
    video = MovingDiscs(frames=60)
    session = session_on(video, colours)
    session.prompt(click(video, 1, 0))
    frames_held = [result.frame for result in session.propagate()]
    assert len(frames_held) == 60
    assert len(session._embeddings) <= 2


@pytest.mark.parametrize(
    ("prompt", "error", "says"),
    [
        ({"frame": 12, "points": [(1, 1, True)]}, FrameOutOfRangeError, "frames 0 to 11"),
        ({"frame": 0, "points": [(500, 1, True)]}, PromptOffFrameError, "off the frame of 128x96"),
        ({"frame": 0, "points": [(-1, 1, True)]}, PromptOffFrameError, "off the frame"),
        ({"frame": 0, "box": (200, 10, 300, 20)}, PromptOffFrameError, "Box"),
        ({"frame": 0, "mask": np.ones((4, 4))}, InvalidPromptError, "original size"),
        ({"frame": 0, "points": [(5, 5, False)]}, InvalidPromptError, "negative"),
    ],
)
def test_a_bad_prompt_is_refused_with_a_sentence_and_leaves_no_trace(
    colours: ColourModels, prompt: dict[str, object], error: type[Exception], says: str
) -> None:
    session = session_on(MovingDiscs(), colours)
    with pytest.raises(error, match=says):
        session.prompt(Prompt(object_id=1, **prompt))  # type: ignore[arg-type]
    assert session.labels == {}


def test_bad_calls_are_refused_with_a_sentence(colours: ColourModels) -> None:
    video = MovingDiscs()
    session = session_on(video, colours)
    with pytest.raises(InvalidInputError, match="nothing to propagate"):
        session.propagate()
    with pytest.raises(InvalidInputError, match="no object 3"):
        session.remove(3)
    session.prompt(click(video, 1, 0))
    with pytest.raises(FrameOutOfRangeError, match="hold no frame"):
        session.propagate(40, 50)
    with pytest.raises(EmptyVideoError):
        session_on(MovingDiscs(frames=0), colours)


def test_labels_stay_until_a_prompt_changes_them(colours: ColourModels) -> None:
    video = MovingDiscs()
    with session_on(video, colours) as session:
        session.prompt(click(video, 2, 0, label="dog"))
        session.prompt(click(video, 2, 1))
        session.prompt(click(video, 1, 0))
        assert session.labels == {1: "", 2: "dog"}
        assert session.video is video
    assert session.labels == {}


def test_same_input_gives_the_same_output_with_the_embedded_networks(tam: TrackAnything) -> None:
    def run() -> list[np.ndarray]:
        with tam.session(TWO) as session:
            session.prompt(click(TWO, 1, 0, disc=1))
            session.prompt(click(TWO, 2, 4, disc=2))
            return [result.masks[each] for result in session.propagate(0, 6) for each in (1, 2)]

    assert all(np.array_equal(one, other) for one, other in zip(run(), run(), strict=True))


def test_the_embedded_networks_follow_two_discs(tam: TrackAnything) -> None:
    video = MovingDiscs(starts_xy=((20, 30), (100, 70)), steps_xy=((4, 0), (-4, 0)), frames=8)
    with tam.session(video) as session:
        session.prompt(Prompt(object_id=1, frame=0, mask=video.truth(0, 1)))
        session.prompt(Prompt(object_id=2, frame=0, mask=video.truth(0, 2)))
        results = list(session.propagate())
        assert session.timing.track_s > 0
    assert (
        np.mean([iou(result.masks[disc], video.truth(result.frame, disc)) for result in results for disc in (1, 2)])
        > 0.8
    )
