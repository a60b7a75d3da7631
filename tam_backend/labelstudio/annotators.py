"""Whose a draft, an annotation, a smart click is.

A smart click names nobody. It brings the drafts of the one who clicked, and only those, each with its author; and
everybody's annotations. So whoever has a draft is known by it, and whoever has none is not (Label Studio 1.23.2,
`ml/mixins.py`, `tasks/serializers.py`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

# "Ann Lee ann@example.com, 12": a draft's `created_username` ends with the person's number.
_NUMBER_AT_END = re.compile(r",\s*([0-9]{1,18})\s*$")


def author_of(entry: Mapping[str, Any]) -> str | None:
    """Return who made a draft or an annotation: 1 to 18 characters of [0-9a-z], the same for a person in every call.

    None where it does not say.

    >>> author_of({"completed_by": 12}), author_of({"created_username": "Ann Lee ann@example.com, 12"})
    ('12', '12')
    """
    person = entry.get("completed_by")
    number = person.get("id") if isinstance(person, Mapping) else person
    if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 10**18:
        return str(number)
    for key in ("created_username", "user"):
        name = entry.get(key)
        if isinstance(name, str) and name.strip():
            found = _NUMBER_AT_END.search(name)
            return str(int(found[1])) if found else _short(name.strip())
    return None


def annotator_of(task: Mapping[str, Any]) -> str | None:
    """Return who clicked in a task as a smart click brings it, as `author_of` does; None for one without a draft."""
    drafts = task.get("drafts")
    for draft in drafts if isinstance(drafts, (list, tuple)) else ():
        author = author_of(draft) if isinstance(draft, Mapping) else None
        if author is not None:
            return author
    return None


def _short(name: str) -> str:
    return "n" + hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
