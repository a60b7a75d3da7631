"""Ways to choose the frame that is corrected next."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from benchmarks.scores import BoolMask, region_similarity
from tam_backend import Session


@dataclass(frozen=True)
class Scene:
    """What a choice is made from.

    Args:
        session: a tracked video with one object.
        object_id: the object.
        truth: frame -> true mask, of the frames that may be chosen.
        done: the frames that were visited already; one at least is left.
        rng: for what is left to chance.
    """

    session: Session
    object_id: int
    truth: Mapping[int, BoolMask]
    done: Collection[int]
    rng: random.Random

    @property
    def left(self) -> list[int]:
        """The frames that may be chosen, ascending."""
        return sorted(self.truth.keys() - set(self.done))


Choice = Callable[[Scene], int]


def by_suggestion(scene: Scene) -> int:
    """The frame that `Session.suggest` names first, of those that may be chosen; else the one of least quality."""
    left = set(scene.left)
    for each in scene.session.suggest(len(scene.session.video)):
        if each.frame in left:
            return each.frame
    return by_quality(scene)


def by_quality(scene: Scene) -> int:
    """The frame of least quality."""
    qualities = scene.session.tracks.qualities(scene.object_id)
    return min(scene.left, key=lambda frame: qualities[frame])


def by_spread(scene: Scene) -> int:
    """The frame farthest from every keyframe and every frame that was visited: whoever knows nothing of doubt."""
    known = {*scene.session.keyframes(scene.object_id), *scene.done}
    return max(scene.left, key=lambda frame: min(abs(frame - each) for each in known))


def by_truth(scene: Scene) -> int:
    """The frame of least J, which no one can know."""
    tracks = scene.session.tracks
    return min(
        scene.left,
        key=lambda frame: region_similarity(tracks[frame].masks[scene.object_id], scene.truth[frame]),
    )


def at_random(scene: Scene) -> int:
    """Any frame."""
    return scene.rng.choice(scene.left)


CHOICES: dict[str, Choice] = {
    "suggested": by_suggestion,
    "quality": by_quality,
    "spread": by_spread,
    "truth": by_truth,
    "random": at_random,
}
