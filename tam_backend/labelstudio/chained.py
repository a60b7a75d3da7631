"""Tasks (JSON) -> videos again: a long video was cut into tasks that know their neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

_MOST_PARTS = 100_000  # nobody's chain is longer, whatever a task's data say


@dataclass(frozen=True)
class Link:
    """A task's place in a chain; of a task that is in none, part 1 of 1.

    Args:
        task: Label Studio's id.
        part, parts: from 1.
        neighbours: the tasks before and after it.
    """

    task: int
    part: int = 1
    parts: int = 1
    neighbours: tuple[int, ...] = ()


@dataclass(frozen=True)
class Chain:
    """The tasks of one video, in the order of its frames.

    Args:
        tasks: those that are there.
        missing: parts, from 1, whose task is not there.
    """

    tasks: tuple[int, ...]
    missing: tuple[int, ...] = ()


def read_link(task: int, data: Mapping[str, Any]) -> Link:
    """Read what a task's data say of its chain; what makes no sense counts as not said."""
    chain = data.get("chain")
    if not isinstance(chain, Mapping):
        return Link(task)
    part, parts = chain.get("part"), chain.get("parts")
    if not (_is_count(part) and _is_count(parts) and part <= parts):
        return Link(task)
    neighbours = (chain.get("previous_task"), chain.get("next_task"))
    return Link(task, part, parts, tuple(each for each in neighbours if _is_count(each)))


def chains(links: Iterable[Link]) -> Iterator[Chain]:
    """Yield the chains in the order of their first tasks' ids. Tasks are in one chain if one names the other."""
    known = {link.task: link for link in links}
    seen: set[int] = set()
    for task in sorted(known):
        if task in seen:
            continue
        found, waiting = [], [task]
        while waiting:
            link = known[waiting.pop()]
            if link.task in seen:
                continue
            seen.add(link.task)
            found.append(link)
            waiting += [each for each in link.neighbours if each in known and known[each].parts == link.parts]
        found.sort(key=lambda link: (link.part, link.task))
        present = {link.part for link in found}
        missing = sorted(set(range(1, min(found[0].parts, _MOST_PARTS) + 1)) - present)
        yield Chain(tuple(link.task for link in found), tuple(missing))


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 1 << 31
