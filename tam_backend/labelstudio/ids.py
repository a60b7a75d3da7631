"""The names of objects inside Label Studio: keys, and result ids that a key and a frame can be read back from.

An object's key is short and made of [0-9a-z]. A result's id is `tam-<key>-<frame>f`: the same for an object on a frame,
whenever it is sent, because Label Studio replaces a region by a result with its id. What may be appended to it ("#12",
a random suffix) does not matter: the "f" ends the number.
"""

from __future__ import annotations

import hashlib
import re

_KEY = re.compile(r"[0-9a-z]{1,16}")
_RESULT_ID = re.compile(r"tam-([0-9a-z]{1,16})-([0-9]{1,8})f")
_KEY_LENGTH = 8  # 41 bits: a collision among a task's hundred objects has a chance of one in 400 million
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def object_key(region_id: str) -> str:
    """Return the key of the object that begins with this region; a region of ours keeps the key in its id."""
    own = parse_result_id(region_id)
    if own is not None:
        return own[0]
    digest = hashlib.blake2b(region_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    number = int.from_bytes(digest, "big")
    key = ""
    for _ in range(_KEY_LENGTH):
        number, digit = divmod(number, len(_DIGITS))
        key += _DIGITS[digit]
    return key


def is_object_key(text: str) -> bool:
    """Tell whether a text can be an object's key."""
    return _KEY.fullmatch(text) is not None


def result_id(key: str, frame: int) -> str:
    """Return the id of an object's result on a frame (from 0)."""
    return f"tam-{key}-{frame}f"


def parse_result_id(region_id: str) -> tuple[str, int] | None:
    """Return (object key, frame) of an id that `result_id` made, whatever was appended to it; None for other ids."""
    match = _RESULT_ID.match(region_id)
    return (match[1], int(match[2])) if match else None
