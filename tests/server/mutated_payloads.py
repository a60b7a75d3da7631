"""What Label Studio sends, and what a broken or hostile sender makes of it: for a test of hundreds, a run of thousands.

Every mutated request follows from a seed and a number alone, so that one that fails can be sent again.
"""

from __future__ import annotations

import copy
import json
import random
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from test_backend import BITMASK, BRUSH, PROPAGATE, VIDEO, VIDEO_CONFIG, box, draft, point, region
from test_video_boxes import box as video_box

from tam_backend.labelstudio.encoding import encode_bitmask, encode_brush

JSON_TYPE = "application/json"
HALF = "\ud800"  # half of a character: JSON can name it, UTF-8 cannot hold it
Media = Mapping[str, Any]
"""What tasks show: "frames", a list of addresses, and "video", an address."""


@dataclass(frozen=True)
class Sent:
    """One request.

    Args:
        method, path: where it goes to; `{secret}` in the path stands for the webhook's.
        body: as it is sent; None: there is none.
        content_type: of the body.
    """

    method: str
    path: str
    body: bytes | None = None
    content_type: str = JSON_TYPE


def good_requests(media: Media) -> list[tuple[str, dict[str, Any]]]:
    """Return (path, payload) of what Label Studio itself sends: clicks, Propagate, batches, boxes, events, a set-up."""
    mask = VIDEO.truth(0)
    by_brush = region("masks", "brushlabels", 0, {"format": "rle", "rle": encode_brush(mask)}, "Rabbit", "hand")
    by_bitmask = region("masks", "bitmasklabels", 0, {"imageDataURL": encode_bitmask(mask)}, "Rabbit", "bits")
    ours = {**by_brush, "id": "tam-1-3f", "item_index": 3, "score": 0.5, "origin": "prediction", "meta": {"text": [""]}}
    choice = region("seen", "choices", 0, {"choices": ["yes"]}, "Rabbit", "hand")
    frames, video = {"frames": media["frames"][:4]}, {"video": media["video"], "fps": 24}
    drawn = [by_brush, ours, choice, {"type": "relation", "from_id": "hand", "to_id": "tam-1-3f", "direction": "right"}]

    def predict(data: Media, config: str, clicked: Sequence[Any] | None, regions: Sequence[Any]) -> dict[str, Any]:
        annotation = {
            "id": 5, "result": list(regions), "was_cancelled": False, "completed_by": {"id": 1, "email": "a@b.c"},
            "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z", "parent_prediction": 9,
        }  # fmt: skip
        task = {"id": 7, "data": dict(data), "drafts": draft(*regions), "annotations": [annotation], "predictions": []}
        context = None if clicked is None else {"result": list(clicked)}
        params = {"login": None, "password": None, "context": context}
        return {"tasks": [task], "project": "7.1", "label_config": config, "params": params}

    def event(action: str, regions: Sequence[Any], config: str = BRUSH) -> dict[str, Any]:
        annotation = {"id": 5, "result": list(regions), "was_cancelled": False, "parent_prediction": None}
        return {
            "action": action, "annotation": annotation, "annotations": [{"id": 5}],
            "task": {"id": 7, "data": frames}, "project": {"id": 7, "label_config": config},
        }  # fmt: skip

    both = predict(frames, BRUSH, None, drawn)
    both["tasks"] = [both["tasks"][0], {**both["tasks"][0], "id": 8}]
    setup = {"project": "7.1", "schema": BRUSH, "hostname": "http://localhost:8080", "access_token": "t" * 40}
    return [
        ("/predict", predict(frames, BRUSH, [point(1, "Bird", disc=2)], drawn)),
        ("/predict", predict(frames, BRUSH, [box(1, "Rabbit")], [])),
        ("/predict", predict(frames, BRUSH, [PROPAGATE], drawn)),
        ("/predict", predict(frames, BITMASK, [PROPAGATE], [by_bitmask])),
        ("/predict", predict(frames, BITMASK, None, [by_bitmask])),
        ("/predict", both),
        ("/predict", predict(video, VIDEO_CONFIG, [video_box(1, "one")], [video_box(2, "two")])),
        ("/setup", setup),
        ("/setup", {**setup, "schema": VIDEO_CONFIG, "extra_params": {"a": 1}}),
        ("/webhook/{secret}", event("ANNOTATION_CREATED", drawn)),
        ("/webhook/{secret}", event("ANNOTATION_UPDATED", [by_bitmask], BITMASK)),
        ("/webhook/{secret}", event("ANNOTATIONS_DELETED", [])),
        ("/webhook", event("ANNOTATION_UPDATED", drawn)),
    ]


class Mutations:
    """Mutated requests by number.

    Args:
        seed: another one gives others.
        media: see `good_requests`.
    """

    def __init__(self, seed: int, media: Media) -> None:
        self._seed = seed
        self._good = good_requests(media)

    def __getitem__(self, number: int) -> Sent:
        """Return one: most of them JSON of odd content, some of an odd form, some on the routes that take no JSON."""
        chance = random.Random(f"{self._seed} {number}")
        kind = chance.random()
        if kind < 0.08:
            return Sent(chance.choice(("GET", "GET", "DELETE", "HEAD", "PUT")), _odd_path(chance))
        path, payload = copy.deepcopy(chance.choice(self._good))
        for _ in range(chance.choice((1, 1, 1, 2, 4))):
            _mutate(payload, chance)
        depth = chance.choice((60, 300, 500, 800, 950))
        body = json.dumps(payload).encode().replace(json.dumps(_DEEP).encode(), b"[" * depth + b"]" * depth)
        if kind < 0.16:
            return Sent("POST", path, _odd_body(body, chance), chance.choice((JSON_TYPE, JSON_TYPE, "text/plain", "")))
        return Sent("POST", path, body)


def _odd_path(chance: random.Random) -> str:
    part = chance.choice(_ODD_PARTS)
    route = chance.choice(
        (
            "/frames/{}/0.jpg", "/frames/a/{}.jpg?sig=1", "/videos/{}/a.mp4?sig=1", "/videos/a/{}",
            "/jobs/{}", "/tasks/7/{}",
            "/tasks/{}/7", "/tasks/7/7?frame={}", "/tasks/7/7?object={}", "/tasks/7/7/frames/{}.jpg",
            "/webhook/{}", "/{}",
            "/?{}", "/metrics?{}", "/versions?{}", "/health", "/jobs", "/tasks/7/7", "/",
        )
    )  # fmt: skip
    return route.replace("{}", part)


def _odd_body(body: bytes, chance: random.Random) -> bytes:
    return chance.choice(
        (
            lambda: body[: chance.randrange(len(body))],
            lambda: body.decode().encode("utf-16"),
            lambda: body.decode().encode("utf-32-be"),
            lambda: b"\xef\xbb\xbf" + body,
            lambda: body.replace(b"a", b"\xe4", 3),
            lambda: body.replace(b'"', b"'"),
            lambda: b"[" * 100_000,
            lambda: b'{"tasks":' * 50_000,
            lambda: b"",
            lambda: b"\x1f\x8b\x08" + body,
            lambda: body[:-1] + b',"tasks":[]}',
            lambda: body[:-1] + b',"project":' + b"9" * 5000 + b"}",
            lambda: body + body,
        )
    )()


def _mutate(payload: dict[str, Any], chance: random.Random) -> None:
    """Change one place: another value, none, one too many, another's, or under another key."""
    places = list(_places(payload))
    # One element of ten thousand of a mask tells less than one of the keys.
    holder, key = chance.choice(
        [each for each in places if isinstance(each[1], str)] if chance.random() < 0.8 else places
    )
    change = chance.random()
    if change < 0.6:
        holder[key] = copy.deepcopy(chance.choice(_odd_for(key, holder[key])))
    elif change < 0.75:
        del holder[key]
    elif change < 0.85:
        other, there = chance.choice(places)
        if there in other if isinstance(other, dict) else there < len(other):
            holder[key] = copy.deepcopy(other[there])
    elif change < 0.93 and isinstance(holder[key], list):
        holder[key] = holder[key] * chance.choice((2, 3, 200)) if len(holder[key]) < 20 else [[], *holder[key]]
    elif isinstance(holder, dict):
        holder[chance.choice((f"{key}{HALF}", "", "\0", "__class__", key.upper()))] = holder.pop(key)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (dict or list, key or index) of everything in JSON."""
    if isinstance(value, (dict, list)):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield value, key
            yield from _places(each)


def _odd_for(key: Any, value: Any) -> Sequence[Any]:
    special = _ODD_BY_KEY.get(key, ())
    if isinstance(value, str):
        special = (*special, value + HALF, value * 300, value[: len(value) // 2], f"\0{value}", value.upper())
    return (*special, *special, *_ODD)


_DEEP = "(many lists in each other)"  # put in at last: Python itself could not copy them
_HUGE = 10**400
_ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 1.5, 1e308, -1e308, 2**31, 2**63, 2**64, -(2**63) - 1, 10**30, _HUGE, -_HUGE,
    float("nan"), float("inf"), float("-inf"), "", " ", "\0", HALF, f"a{HALF}b", "x" * 5000, "7", "\u0667", "-1", "NaN",
    "1e999", "ß", "\N{PILE OF POO}", "a\nb", "../../etc/passwd", "%s%n{0}", [], {}, [[]], [None], [{}],
    [HALF], {"": {}},
    {HALF: HALF}, {"a": {"b": [1]}}, _DEEP, _DEEP, [0] * 3000, list(range(300)), [1e308, None, "a"],
)  # fmt: skip
_CONFIGS = (
    "", " ", "<View>", "<View/>", "</View>", "<View></view>", "View", "<a><b></a></b>", "<View>&x;</View>", "\0",
    '<!DOCTYPE a [<!ENTITY x "y"><!ENTITY z "&x;&x;&x;">]><View>&z;</View>',
    "<?xml version='1.0' encoding='utf-16'?><View/>",
    '<View><Image/><BrushLabels/></View>', '<View><Image name="a" value="$"/><BrushLabels name="b" toName="a"/></View>',
    '<View><Image name="a" value="$frames[0]"/><Brush name="a" toName="a"/></View>', "<View>" * 400, "<View>" * 50_000,
    '<View><Image name="pages" valueList="$a.b[0]"/><BrushLabels name="masks" toName="nowhere,pages"/></View>',
    '<View><Repeater on="$frames" '
    'indexFlag="{{i}}" mode="pagination"><Image name="pages_{{i}}" value="$frames[{{i}}]"/>'
    '<BrushLabels name="masks_{{i}}" toName="pages_{{i}}"><Label value="Rabbit"/></BrushLabels></Repeater></View>',
    '<View><Video name="clip" value="$video" framerate="NaN"/>'
    '<VideoRectangle name="track" toName="clip" smart="true"/></View>',
    '<View><Video name="clip" value="$video" framerate="0"/><Labels name="kind" toName="clip"><Label/></Labels>'
    '<VideoRectangle name="track" toName="clip" smart="true"/></View>',
    BRUSH.replace('"Rabbit"', '""'), BRUSH.replace('smart="true"', 'smart="maybe"'), BRUSH.replace("frames", "ٱ"),
    BRUSH.replace('name="masks"', 'name="clicks"'), BRUSH.replace('value="Rabbit"', 'value="$labels"'), BRUSH * 2,
)  # fmt: skip
_NUMBERS = ("1", "", None, -1, -0.0, 1e-320, 100.0001, 1e308, _HUGE, 2**31, 2**63, True, [1], {"a": 1}, 0.5)
_RLES = (
    [], [0], [255] * 40, [0] * 40, [-1] * 9, [256] * 9, [1.5] * 9, ["0"] * 9, [None] * 9, [True] * 40, [2**70] * 40,
    [255, 255, 255, 255, *[1] * 40], [0, 0, 0, 1, 57, 27, 254, 203], "0,1,2", {"0": 1}, [[0]], 7,
)  # fmt: skip
_PICTURES = (
    "", "data:", "data:image/png;base64,", "data:image/png;base64,!!!", "data:image/png;base64,AAAA",
    "http://localhost/a.png",
    "data:image/png;base64," + b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 30).decode(), "data:image/svg+xml,<svg/>",
    "data:image/png;base64,\u00e9", f"data:image/png;base64,{HALF}", 7, None, ["data:"],
)  # fmt: skip
_DATES = ("", "yesterday", "2026-13-45T99:99:99Z", "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59.999999-23:59", 0, -1,
          1e308, "2026-01-01", "2026-01-01T00:00:00", HALF, None)  # fmt: skip
_ADDRESSES = ("", "/", "a.jpg", "/data/upload/1/a.jpg", "file:///etc/passwd", "http://", "http://[",
    "http://a b/", "s3://a/b",
              "http://localhost:99999/a.jpg", "http://x/frames/a/1.jpg", "data:image/png;base64,AAAA", "http://\ud800/",
              "http://localhost/%00", "//x", "?", "gs://", "http://user:pw@localhost:1/a.jpg")  # fmt: skip
_NAMES = (
    "",
    "tam-1-0f",
    "tam-0-0f",
    "tam-99999999999999999999-0f",
    "tam-1-99999999999f",
    "tam--f",
    "tam-1--1f",
    "a",
    None,
    7,
)
_ODD_BY_KEY: dict[Any, tuple[Any, ...]] = {
    "label_config": _CONFIGS, "schema": _CONFIGS, "rle": _RLES, "imageDataURL": _PICTURES,
    "updated_at": _DATES, "created_at": _DATES, "id": _NAMES, "from_id": _NAMES, "parent_prediction": _NUMBERS,
    "frames": (*_ADDRESSES, [], [""], [None], [7], ["a", 1], {"a": 1}, [HALF], [["a"]]), "video": _ADDRESSES,
    "hostname": _ADDRESSES, "access_token": ("", " ", "ключ", "a\nb", "eyJ.eyJ.x", "eyJhbGciOiJub25lIn0.e30.", HALF),
    "project": ("", ".", "7", "7.", ".1", "1.2.3", 7, "a/b", "a" * 64, "-7", "7\u0667"),
    "task": (7, None, {"id": 7}), "action": ("", "ANNOTATION_CREATED", "ANNOTATIONS_DELETED",
    "TASKS_CREATED", "START_TRAINING"),
    "type": ("keypoint", "brush", "rectanglelabels", "ellipselabels", "polygonlabels", "relation", "choices",
    "", None, 7),
    "from_name": ("masks", "clicks", "boxes", "track", "nowhere", ""), "to_name": ("pages", "clip", "nowhere", ""),
    "brushlabels": ([], ["Bird"], ["Nobody"], ["Rabbit", "Bird"], "Rabbit", [7]), "was_cancelled": ("yes", 1),
    "sequence": ([{}], [None], [{"frame": 1}], [{"frame": "1", "x": 1, "y": 1, "width": 1, "height": 1}]),
} | dict.fromkeys(
    ("x", "y", "width", "height", "rotation", "item_index", "original_width", "original_height",
    "image_rotation", "frame",
     "framesCount", "duration", "time", "fps", "score"), _NUMBERS,
)  # fmt: skip
_ODD_PARTS = (
    "7", "-1", "0", "99999999999999999999", "%00", "%ff%fe", "%ed%a0%80", "..%2f..%2fetc", "a%0ab",
    "x" * 3000, "%F0%9F%92%A9",
    "{}", "%25s", "+", "1.5", "nan", "<b>",
)  # fmt: skip


def as_text(sent: Sent) -> str:
    """Return a request as it is shown to whoever has to mend what it found."""
    body = b"" if sent.body is None else sent.body
    return f"{sent.method} {sent.path[:200]} {sent.content_type}\n{body[:200_000].decode('utf-8', 'backslashreplace')}"
