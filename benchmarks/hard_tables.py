"""What `benchmarks.hard_kinds` judged, summed up by objects: three tables and their means."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.hard_kinds import Judged, JudgedMask

# Thin parts or holes that are a smaller share of an object's pixels are left out: a handful of pixels tells nothing.
LEAST_DETAIL = 0.01


@dataclass(frozen=True)
class DetailRow:
    """Thin parts and holes of one object, in percent; None where they are less than `LEAST_DETAIL` of it.

    Args:
        thin_share: of the object's pixels.
        thin_recall: of the thin parts, in the answer.
        hole_share: the holes' pixels beside the object's.
        holes_free: of the holes, not in the answer.
        band_iou: IoU on the band around both.
    """

    clip: str
    object_id: int
    method: str
    thin_share: float
    thin_recall: float | None
    hole_share: float
    holes_free: float | None
    band_iou: float


@dataclass(frozen=True)
class LookAlikeRow:
    """Whose an object's true pixels became, in percent of these.

    Args:
        own: the object's.
        others: other objects'.
        nobody: the rest. The three are 100, because masks of one frame share no pixel.
        most_to: the object that was given most of the others' share; None if that is nothing.
    """

    clip: str
    object_id: int
    method: str
    own: float
    others: float
    nobody: float
    most_to: int | None


@dataclass(frozen=True)
class AbsenceRow:
    """How often an object was seen that is not there, and how often not seen though it is.

    Qualities are means of what was told, 0..1; None where there is nothing to tell it of. A false alarm's mask has IoU
    0, and a miss's "absent" is wrong, so that all of these two is over-confidence.

    Args:
        object_id: None = all objects of all clips, every judged frame counting the same.
        absent: judged frames on which the object is not to be seen.
        false_alarms: of these, with a mask of any size.
        alarm_quality: of the false alarms.
        present: judged frames on which it is to be seen.
        misses: of these, with an empty mask.
        miss_quality: of the misses.
        right_quality: of the empty masks that are right.
    """

    clip: str
    object_id: int | None
    method: str
    absent: int
    false_alarms: int
    alarm_quality: float | None
    present: int
    misses: int
    miss_quality: float | None
    right_quality: float | None


def detail_rows(clip: str, method: str, judged: Judged) -> Iterator[DetailRow]:
    """Sum up the objects that have thin parts or holes worth telling of."""
    for object_id, masks in judged.items():
        area = sum(each.area for each in masks)
        details = [each.detail for each in masks]
        thin, hollow = sum(each.thin for each in details), sum(each.holes for each in details)
        found, free = sum(each.thin_found for each in details), sum(each.holes_free for each in details)
        least = LEAST_DETAIL * area
        if area and max(thin, hollow) >= least:
            yield DetailRow(
                clip,
                object_id,
                method,
                thin_share=100 * thin / area,
                thin_recall=100 * found / thin if thin >= least else None,
                hole_share=100 * hollow / area,
                holes_free=100 * free / hollow if hollow >= least else None,
                band_iou=100 * sum(each.band_both for each in details) / sum(each.band_either for each in details),
            )


def look_alike_rows(clip: str, method: str, judged: Judged) -> Iterator[LookAlikeRow]:
    """Sum up the objects of a clip with several; whether they look alike is for the reader to see."""
    for object_id, masks in judged.items():
        area = sum(each.area for each in masks)
        if area and len(judged) > 1:
            given = {other: sum(each.given.get(other, 0) for each in masks) for other in judged if other != object_id}
            own, others = 100 * sum(each.found for each in masks) / area, 100 * sum(given.values()) / area
            taker = max(given, key=lambda other: given[other])
            yield LookAlikeRow(
                clip, object_id, method, own, others, 100 - own - others, taker if given[taker] else None
            )


def absence_rows(method: str, clips: Sequence[tuple[str, Judged]]) -> Iterator[AbsenceRow]:
    """Sum up the objects that were absent or were missed on some judged frame, and then all objects.

    Args:
        method: for the table.
        clips: their names, and what was judged of each.
    """
    everything: list[JudgedMask] = []
    for clip, judged in clips:
        for object_id, masks in judged.items():
            row = _absence(clip, object_id, method, masks)
            if row.absent or row.misses:
                yield row
            everything += masks
    yield _absence("all", None, method, everything)


def _absence(clip: str, object_id: int | None, method: str, masks: Sequence[JudgedMask]) -> AbsenceRow:
    absent, present = [each for each in masks if not each.area], [each for each in masks if each.area]
    alarms, misses = [each for each in absent if not each.empty], [each for each in present if each.empty]
    return AbsenceRow(
        clip,
        object_id,
        method,
        absent=len(absent),
        false_alarms=len(alarms),
        alarm_quality=_mean_quality(alarms),
        present=len(present),
        misses=len(misses),
        miss_quality=_mean_quality(misses),
        right_quality=_mean_quality([each for each in absent if each.empty]),
    )


def _mean_quality(masks: Sequence[JudgedMask]) -> float | None:
    return float(np.mean([each.quality for each in masks])) if masks else None


@dataclass(frozen=True)
class HardKinds:
    """The tables of some clips; a table is empty where no clip has that kind."""

    details: list[DetailRow]
    look_alikes: list[LookAlikeRow]
    absence: list[AbsenceRow]

    @classmethod
    def of(cls, judged: Mapping[str, Sequence[tuple[str, Judged]]]) -> HardKinds:
        """Sum up what was judged: method -> clips' names, and their objects' judged masks."""
        each_clip = [(clip, method, objects) for method, clips in judged.items() for clip, objects in clips]
        return cls(
            details=[row for clip in each_clip for row in detail_rows(*clip)],
            look_alikes=[row for clip in each_clip for row in look_alike_rows(*clip)],
            absence=[row for method, clips in judged.items() for row in absence_rows(method, clips)],
        )

    def show(self) -> None:
        """Print the tables, each after an empty line."""
        if self.details:
            print()
            print_details(self.details)
        if self.look_alikes:
            print()
            print_look_alikes(self.look_alikes)
        print()
        print_absence(self.absence)


def print_details(rows: Sequence[DetailRow]) -> None:
    """Print the table; the means count every object the same."""
    head = f"{'thin parts, holes':<18}{'object':>7} {'method':<30}"
    print(f"{head}{'thin':>7}{'found':>7}{'holes':>7}{'free':>7}{'band IoU':>10}")
    for row in rows:
        figures = _cells(row.thin_share, row.thin_recall, row.hole_share, row.holes_free)
        print(f"{row.clip:<18}{row.object_id:>7} {row.method:<30}{figures}{row.band_iou:>10.1f}")
    for method in dict.fromkeys(row.method for row in rows):
        own = [row for row in rows if row.method == method]
        found, free = (_mean(getattr(row, part) for row in own) for part in ("thin_recall", "holes_free"))
        band = np.mean([row.band_iou for row in own])
        print(f"{'mean over objects':<18}{len(own):>7} {method:<30}{_cells(None, found, None, free)}{band:>10.1f}")


def print_look_alikes(rows: Sequence[LookAlikeRow]) -> None:
    """Print the table; the means count every object the same."""
    head = f"{'several objects':<18}{'object':>7} {'method':<30}"
    print(f"{head}{'own':>7}{'others':>7}{'nobody':>7}{'most to':>9}")
    for row in rows:
        figures = _cells(row.own, row.others, row.nobody)
        print(f"{row.clip:<18}{row.object_id:>7} {row.method:<30}{figures}{row.most_to or '-':>9}")
    for method in dict.fromkeys(row.method for row in rows):
        own = [row for row in rows if row.method == method]
        figures = _cells(*(_mean(getattr(row, part) for row in own) for part in ("own", "others", "nobody")))
        print(f"{'mean over objects':<18}{len(own):>7} {method:<30}{figures}")


def print_absence(rows: Sequence[AbsenceRow]) -> None:
    """Print the table: frames, and the mean qualities told of the wrong answers and of empty masks that are right."""
    head = f"{'absence':<18}{'object':>7} {'method':<30}"
    print(
        f"{head}{'absent':>7}{'alarms':>8}{'told':>6}{'present':>9}{'misses':>8}{'told':>6}{'rightly empty, told':>21}"
    )
    for row in rows:
        alarm, miss, right = (
            "-" if told is None else f"{told:.2f}" for told in (row.alarm_quality, row.miss_quality, row.right_quality)
        )
        figures = f"{row.absent:>7}{row.false_alarms:>8}{alarm:>6}{row.present:>9}{row.misses:>8}{miss:>6}{right:>21}"
        print(f"{row.clip:<18}{row.object_id or '':>7} {row.method:<30}{figures}")


def _cells(*values: float | None) -> str:
    return "".join(f"{'-':>7}" if value is None else f"{value:>7.1f}" for value in values)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
