"""A task's annotations and predictions (JSON) -> those that are to be exported."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tam_backend.errors import InvalidInputError
from tam_backend.labelstudio.edits import with_origins

Taken = Literal["annotations", "predictions", "both"]
Status = Literal["submitted", "ground-truth", "skipped"]


@dataclass(frozen=True)
class Choice:
    """Which annotations are wanted.

    Args:
        taken: annotations; predictions; or "both": predictions of tasks without an annotation.
        status: submitted ones (skipped ones are left out); only those marked as ground truth; only skipped ones.
        annotators: users' ids; empty = anybody.
        every: the newest of each annotator, who then has videos of their own; else one for each task: ground truth
            before others, then the newest.
    """

    taken: Taken = "annotations"
    status: Status = "submitted"
    annotators: frozenset[int] = frozenset()
    every: bool = False


@dataclass(frozen=True, eq=False)
class Holder:
    """An annotation or a prediction that is exported.

    Args:
        annotator: whose; None of a prediction, and where one is wanted for each task, whoever made it.
        results: JSON.
        is_prediction: a model made it.
        stamp: changes when it is changed.
    """

    annotator: int | None
    results: Sequence[Mapping[str, Any]]
    is_prediction: bool
    stamp: str


def chosen(
    annotations: Sequence[Mapping[str, Any]], predictions: Sequence[Mapping[str, Any]], choice: Choice
) -> list[Holder]:
    """Return what is exported of one task: nothing, one, or with `Choice.every` one for each annotator.

    Args:
        annotations, predictions: all of the task; predictions may be left out where none are wanted, and none is needed
            (`edits.needs_parent`).
        choice: which.
    """
    fitting = [] if choice.taken == "predictions" else [each for each in annotations if _fits(each, choice)]
    best: dict[int | None, Mapping[str, Any]] = {}
    for each in fitting:
        key = _annotator(each) if choice.every else None
        if key not in best or _rank(each) > _rank(best[key]):
            best[key] = each
    holders = [_holder(each, key, predictions) for key, each in best.items()]
    if not holders and choice.taken != "annotations" and predictions:
        holders.append(_holder(max(predictions, key=_rank), None, is_prediction=True))
    return holders


def annotator_ids(named: Sequence[str], users: Callable[[], Mapping[str, int]]) -> frozenset[int]:
    """Return the ids of users who are named by id or e-mail address.

    Args:
        named: ids or addresses.
        users: gives e-mail address -> id; asked only where an address is named.

    Raises:
        InvalidInputError: nobody has that address.
    """
    known = {} if all(each.isdecimal() for each in named) else {who.casefold(): n for who, n in users().items()}
    unknown = [each for each in named if not each.isdecimal() and each.casefold() not in known]
    if unknown:
        raise InvalidInputError(
            f"Label Studio knows no user {unknown[0]!r}.", f"Known are {', '.join(sorted(filter(None, known)))}."
        )
    return frozenset(int(each) if each.isdecimal() else known[each.casefold()] for each in named)


def _fits(annotation: Mapping[str, Any], choice: Choice) -> bool:
    skipped, truth = bool(annotation.get("was_cancelled")), bool(annotation.get("ground_truth"))
    if choice.annotators and _annotator(annotation) not in choice.annotators:
        return False
    return {"submitted": not skipped, "ground-truth": truth and not skipped, "skipped": skipped}[choice.status]


def _annotator(annotation: Mapping[str, Any]) -> int:
    by: Any = annotation.get("completed_by")
    by = by.get("id") if isinstance(by, Mapping) else by
    return by if isinstance(by, int) else 0


def _rank(holder: Mapping[str, Any]) -> tuple[bool, str, int]:
    number = holder.get("id")
    when = str(holder.get("updated_at") or holder.get("created_at") or "")
    return bool(holder.get("ground_truth")), when, number if isinstance(number, int) else 0


def _holder(
    holder: Mapping[str, Any],
    annotator: int | None,
    predictions: Sequence[Mapping[str, Any]] = (),
    *,
    is_prediction: bool = False,
) -> Holder:
    _, when, number = _rank(holder)
    kind = "prediction" if is_prediction else "annotation"
    results = with_origins(holder, {"predictions": predictions}) or ()
    return Holder(annotator, results, is_prediction, f"{kind} {number} of {when}")
