"""What people submitted of a project, as videos to learn from: masks that a human gave or accepted, no others.

What counts as given or accepted is what `tam-backend export --only-confirmed` counts so (export/trust.py). A mask that
was tracked and submitted with the rest is nobody's word: it may be one that nobody looked at.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tam_backend.adaptation.kept_video import older_left_out
from tam_backend.adaptation.labeled import LabeledVideo
from tam_backend.errors import CancelledError, InvalidInputError, MediaError, TooLittleError
from tam_backend.export.trust import is_confirmed
from tam_backend.labelstudio.annotated import AnnotatedVideo, ProjectReader, first_few
from tam_backend.labelstudio.annotated_pages import OpenMedia, opened_pages
from tam_backend.labelstudio.client import LabelStudioClient
from tam_backend.labelstudio.config import MediaKind
from tam_backend.labelstudio.config_xml import read_config
from tam_backend.labelstudio.labelled import Labelled, labelled
from tam_backend.labelstudio.submitted import Choice
from tam_backend.types import EncodedMask
from tam_backend.video.joined import JoinedVideo

_NAMED = 3
_NOTHING = "nobody drew, corrected or clicked a mask on it."
_EMPTY = "all its masks are empty."
_OF_PEOPLE_EMPTY = "all masks that people drew, corrected or clicked on it are empty."
# Of one alone nobody can tell whether it was learnt, or learnt by heart.
_LEAST_VIDEOS, _LEAST_MASKS = 2, 2


@dataclass(frozen=True, eq=False)
class SubmittedVideos:
    """What there is to learn from in a project.

    Args:
        videos: at least two with two masks each, those of older tasks first; none where the stamp was known.
        left_out: a sentence on everything that is not among them, and why.
        stamp: changes when there is something else to learn from.
    """

    videos: tuple[LabeledVideo, ...]
    left_out: tuple[str, ...]
    stamp: str


class IdMasks(Mapping[int, NDArray[np.uint8]]):
    """Frame -> (H, W) uint8: 0 = background, else 1, 2, .. of the objects; decoded anew each time, none is kept.

    Args:
        encoded: frame -> object -> its mask, of at most 255 objects; where two cover a pixel, it is the last one's.
    """

    def __init__(self, encoded: Mapping[int, Mapping[int, EncodedMask]]) -> None:
        self._encoded = encoded

    def __getitem__(self, frame: int) -> NDArray[np.uint8]:
        masks = self._encoded[frame]
        ids = np.zeros(next(iter(masks.values())).size_hw, np.uint8)
        for number, mask in masks.items():
            ids[mask.array] = number
        return ids

    def __iter__(self) -> Iterator[int]:
        return iter(self._encoded)

    def __len__(self) -> int:
        return len(self._encoded)


@contextmanager
def submitted_videos(
    client: LabelStudioClient,
    project: int,
    open_media: OpenMedia,
    cancelled: Callable[[], bool] = lambda: False,
    *,
    most: int,
    unless_stamp: str = "",
) -> Iterator[SubmittedVideos]:
    """Collect what people submitted of a project; its videos are open for the length of a `with` block.

    Of several annotations of a task the ground truth is taken, else the newest; those that were skipped, and
    predictions, are not looked at. A long video that was cut into tasks is one again.

    Args:
        client: Label Studio.
        project: its id of the project.
        open_media: opens what tasks show.
        cancelled: asked between videos.
        most: so many videos are opened, those of the newest tasks.
        unless_stamp: where that is the stamp of what there is, none is opened.

    Raises:
        TooLittleError: too little to learn from; the sentence says what is missing.
        LabelStudioError: Label Studio is away, refuses the key, or knows no such project.
        CancelledError: `cancelled` said so.
    """
    config = read_config(str(client.get_project(project).get("label_config") or ""))
    reader = ProjectReader(client, project, config, Choice())
    left_out = list[str]()
    confirmed = _confirmed_videos(reader, most, left_out, cancelled)
    stamp = _stamp(confirmed)
    if stamp == unless_stamp:
        yield SubmittedVideos((), tuple(left_out), stamp)
        return
    with ExitStack() as until_learnt:
        videos: list[LabeledVideo] = []
        opened: list[_Confirmed] = []
        for each in confirmed:
            _stop_if(cancelled)
            try:
                videos.append(_labeled(each, open_media, until_learnt))
            except (InvalidInputError, MediaError) as error:  # the others shall be learnt
                left_out.append(f"{each.video.name} was left out: {error}")
            else:
                opened.append(each)
        _require_enough(project, videos, left_out)
        yield SubmittedVideos(tuple(videos), tuple(left_out), _stamp(opened))


class _Confirmed(NamedTuple):
    """A video, without its regions, and what is confirmed of it: frame -> object -> mask."""

    video: AnnotatedVideo
    masks: Mapping[int, Mapping[int, EncodedMask]]
    stamp: str


def _confirmed_videos(
    reader: ProjectReader, most: int, left_out: list[str], cancelled: Callable[[], bool]
) -> Sequence[_Confirmed]:
    """Read what is confirmed of a project's newest videos, so many at most; `left_out` is told of the others."""
    newest = deque[_Confirmed](maxlen=most)
    unlabelled: list[int] = []
    found = 0
    for chain in reader.chains():
        _stop_if(cancelled)
        read = reader.read(chain)
        unlabelled += read.unlabelled
        left_out += [*read.left_out, *(f"{what} ({count} times)" for what, count in read.damaged.items())]
        for video in read.videos:
            try:
                masks = _confirmed(video)
            except InvalidInputError as error:  # noqa: PERF203 - the others shall be learnt
                left_out.append(f"{video.name} was left out: {error}")
            else:
                found += 1
                newest.append(_Confirmed(replace(video, regions=()), masks, read.stamp))
    if unlabelled:  # all in one sentence: most projects have more tasks to come than videos to learn from
        left_out.append(f"Nothing is submitted in {_tasks(unlabelled)}.")
    if found > len(newest):
        left_out.append(older_left_out(found - len(newest), len(newest)))
    return newest


def _tasks(numbers: Sequence[int]) -> str:
    return f"task {numbers[0]}" if len(numbers) == 1 else f"{len(numbers)} tasks ({first_few(numbers)})"


def _stamp(videos: Iterable[_Confirmed]) -> str:
    told = "".join(f"{each.video.name}: {each.stamp}\n" for each in videos)
    return sha256(told.encode()).hexdigest()[:32]


def _stop_if(cancelled: Callable[[], bool]) -> None:
    if cancelled():
        raise CancelledError("It was cancelled while it read what people submitted.")


def _require_enough(project: int, videos: list[LabeledVideo], left_out: list[str]) -> None:
    enough = [each.name for each in videos if len(each.masks) >= _LEAST_MASKS]
    if len(enough) >= _LEAST_VIDEOS:
        return
    there = f"one of them ({enough[0]})" if enough else "none"
    another = "another video" if enough else "two videos"
    why = "".join(f" {each}" for each in left_out[:_NAMED])
    raise TooLittleError(
        f"Project {project} has too little to learn from: it takes two videos with two frames each on which people "
        f"drew, corrected or clicked a mask and submitted it; there is {there}.{why}",
        f"Label and submit {another}: one is learnt from, the other shows whether that helped.",
    )


def _labeled(found: _Confirmed, open_media: OpenMedia, until_learnt: ExitStack) -> LabeledVideo:
    """Return a video, opened, with what is confirmed of it.

    Raises:
        InvalidInputError: it is of another size than its masks.
        MediaError: its frames cannot be had.
    """
    video, confirmed, _ = found
    with ExitStack() as opening:
        pages = opening.enter_context(opened_pages(video, open_media))
        frames = JoinedVideo(pages.frames, video.name, sum(part.length for part in video.parts))
        size_hw = next(mask.size_hw for masks in confirmed.values() for mask in masks.values())
        if size_hw != frames.size_hw:
            raise InvalidInputError(
                f"its masks are {size_hw[1]} x {size_hw[0]}, its frames {frames.size_hw[1]} x {frames.size_hw[0]}."
            )
        until_learnt.enter_context(opening.pop_all())
    return LabeledVideo(video.name, frames, IdMasks(confirmed))


def _confirmed(video: AnnotatedVideo) -> dict[int, dict[int, EncodedMask]]:
    """Return frame -> object (1, 2, ..) -> mask, of frames on which each of the objects is confirmed.

    Who learns from a frame takes what is not on it for absent. Of an object that nobody confirmed there that cannot be
    said, so that a video with several is told as those of its objects of which most is known, on the frames on which
    all of them are; the others count as background.

    Raises:
        InvalidInputError: nothing is, or a mask of it cannot be decoded.
    """
    if video.media.kind is MediaKind.VIDEO:
        raise InvalidInputError("a <Video> has boxes, no masks.")
    found = labelled(video.regions, {}, same=video.same)
    if found.size_hw is None:
        raise InvalidInputError(_NOTHING)
    there: dict[int, dict[int, EncodedMask]] = {}
    for frame in found.frames(sorted(found.by_frame), found.size_hw):
        masks = {each.object_id: each.runs for each in frame.shown if each.runs is not None and is_confirmed(each)}
        if masks:
            there[frame.index] = masks
    numbers = {number: place for place, number in enumerate(_best_known(there), 1)}
    if not there:
        raise InvalidInputError(_why_nothing(found))
    return {
        frame: {place: masks[number] for number, place in numbers.items()}
        for frame, masks in there.items()
        if masks.keys() >= numbers.keys()
    }


def _why_nothing(found: Labelled) -> str:
    """Return why nothing of a video is confirmed."""
    masks = [each for frame in found.by_frame.values() for _, each in frame if each.runs is not None]
    if not any(each.origin != "prediction" or each.source == "prompt" for each in masks):
        return _NOTHING
    return _OF_PEOPLE_EMPTY if any(each.runs is not None and each.runs.area for each in masks) else _EMPTY


def _best_known(there: Mapping[int, Mapping[int, EncodedMask]]) -> tuple[int, ...]:
    """Return the objects of which most masks lie on frames that show them all, on two frames at least if any do."""
    frames_of: dict[int, set[int]] = {}
    for frame, masks in there.items():
        for number in masks:
            frames_of.setdefault(number, set()).add(frame)
    best: tuple[tuple[bool, int], tuple[int, ...]] = ((False, 0), ())
    together: list[int] = []
    common: set[int] = set(there)
    for number in sorted(frames_of, key=lambda each: (-len(frames_of[each]), each))[:255]:
        together.append(number)
        common &= frames_of[number]
        worth = (len(common) >= _LEAST_MASKS, len(common) * len(together))
        if worth > best[0]:
            best = worth, tuple(together)
    return best[1]
