"""What a request body must look like before anything else sees it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from flask import Request
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from tam_backend.errors import CancelledError, HttpError, PayloadError, PayloadTooLargeError
from tam_backend.server.connection import reading_within, stop_reading
from tam_backend.video.addresses import is_web_address

_SENT_BY = "Label Studio 1.23 sends it right: look at what stands between it and the backend."

_MAX_NAME_CHARS = 64  # of a task or a project: what the database takes
_NUMBERS = range(-(2**31), 2**31)  # likewise; Label Studio's own ids are such
_MAX_DEPTH = 100  # of JSON: Label Studio's has ten levels; whatever reads or copies it goes down level by level

# How long a refused request's sender may take to send the rest, so that it looks for the reply.
_DISCARD_S = 1.0


def read_object(request: Request, max_payload_mb: float, timeout_s: float) -> dict[str, Any]:
    """Read the body as one JSON object.

    Args:
        request: under gunicorn or werkzeug's server, for the time limit.
        max_payload_mb: for the message; the limit is Flask's MAX_CONTENT_LENGTH.
        timeout_s: how long the whole body may take to arrive.

    Raises:
        PayloadTooLargeError: the body is over the limit.
        PayloadError: it is not sent as JSON, is not JSON, is nested too deep, or is no object.
        CancelledError: the client hung up while it was sending.
        HttpError: 408, the body did not arrive in time.
    """
    if not request.is_json:
        raise PayloadError(
            f"The request body is sent as {request.content_type or 'nothing'!r}, not as JSON.",
            "Send it with the header Content-Type: application/json.",
        )
    body = _whole_body(request, max_payload_mb, timeout_s)
    try:
        content = json.loads(body, parse_constant=_refuse_constant)
    except RecursionError:
        raise PayloadError("The JSON in the request body is nested too deep.", _SENT_BY) from None
    except ValueError as error:
        raise PayloadError(f"The request body is not valid JSON: {error}.", _SENT_BY) from None
    if not isinstance(content, dict):
        raise PayloadError(f"The request body is a JSON {_kind(content)}, not an object.", _SENT_BY)
    if _is_deeper(content, _MAX_DEPTH):
        raise PayloadError("The JSON in the request body is nested too deep.", _SENT_BY)
    return content


def _is_deeper(content: object, levels: int) -> bool:
    """Whether JSON has more than so many objects and lists in each other."""
    level = [content]
    for _ in range(levels):
        level = [
            each
            for holder in level
            for each in (holder.values() if isinstance(holder, dict) else holder)  # type: ignore[attr-defined]
            if isinstance(each, (dict, list))
        ]
    return bool(level)


def _whole_body(request: Request, max_payload_mb: float, timeout_s: float) -> bytes:
    with reading_within(request.environ, timeout_s) as time_is_up:
        try:
            body = request.get_data(cache=False)
        except RequestEntityTooLarge:
            raise too_large(max_payload_mb) from None
        except (ClientDisconnected, OSError):
            if not time_is_up():
                raise CancelledError("The client hung up before it had sent the whole request.") from None
        else:
            if not time_is_up():  # a body without a length may look complete
                return body
    raise HttpError(
        408,
        f"The request body did not arrive within {timeout_s:g} s.",
        "Look at what stands between Label Studio and the backend, or raise TAM_BODY_TIMEOUT_S.",
    )


def discard_rest(request: Request) -> None:
    """Read, for a second at most, what a refused request's sender has still to send.

    A server that closes a connection with unread input resets it, and then the sender may see "connection reset" in
    place of the reply that tells what was wrong. A body over the limit is not read: that is what the limit is for.
    """
    if not {"Content-Length", "Transfer-Encoding"} & set(request.headers.keys()):
        return
    try:
        with reading_within(request.environ, _DISCARD_S):
            while request.stream.read(1 << 16):
                continue
    except (RequestEntityTooLarge, ClientDisconnected, OSError):
        stop_reading(request.environ)  # or the server itself would read on, however long that takes


def too_large(max_payload_mb: float) -> PayloadTooLargeError:
    """Return the error for a body over the limit."""
    return PayloadTooLargeError(
        f"The request body is over {max_payload_mb:g} MB.",
        "Select fewer tasks at a time, or raise TAM_MAX_PAYLOAD_MB.",
    )


def check_predict(payload: Mapping[str, Any]) -> None:
    """Check the shape of a /predict body.

    Raises:
        PayloadError: names the first key that is missing or of the wrong kind.
    """
    tasks = payload.get("tasks")
    if not isinstance(tasks, list):
        raise PayloadError(_wrong("tasks", tasks, "a list of tasks"), _SENT_BY)
    for number, task in enumerate(tasks):
        if not isinstance(task, dict):
            raise PayloadError(_wrong(f"tasks[{number}]", task, "an object"), _SENT_BY)
        if not isinstance(task.get("data"), dict):
            raise PayloadError(_wrong(f"tasks[{number}].data", task.get("data"), "an object"), _SENT_BY)
        _check_name(f"tasks[{number}].id", task.get("id"))
    _check_name("project", payload.get("project"))
    if not isinstance(payload.get("label_config"), str):
        raise PayloadError(_wrong("label_config", payload.get("label_config"), "the labeling config's XML"), _SENT_BY)
    params = payload.get("params")
    if params is not None and not isinstance(params, dict):
        raise PayloadError(_wrong("params", params, "an object or null"), _SENT_BY)
    context = (params or {}).get("context")
    if context is not None and not isinstance(context, dict):
        raise PayloadError(_wrong("params.context", context, "an object or null"), _SENT_BY)
    regions = (context or {}).get("result")
    if regions is not None and not (isinstance(regions, list) and all(isinstance(region, dict) for region in regions)):
        raise PayloadError(_wrong("params.context.result", regions, "a list of regions"), _SENT_BY)


def check_setup(payload: Mapping[str, Any]) -> None:
    """Check the shape of a /setup body.

    Raises:
        PayloadError: names the first key that is missing or of the wrong kind, or a hostname that is no address.
    """
    if not isinstance(payload.get("schema"), str):
        raise PayloadError(_wrong("schema", payload.get("schema"), "the labeling config's XML"), _SENT_BY)
    _check_name("project", payload.get("project"))
    for key in ("hostname", "access_token"):
        if not isinstance(payload.get(key), (str, type(None))):
            raise PayloadError(_wrong(key, payload[key], "a text or null"), _SENT_BY)
    hostname = payload.get("hostname")
    if hostname and not is_web_address(hostname):
        raise PayloadError(
            f"The request's 'hostname' is {hostname[:200]!r}, which is no http(s) address.",
            "Start Label Studio with LABEL_STUDIO_HOST set to an address such as http://localhost:8080.",
        )


def check_webhook(payload: Mapping[str, Any]) -> None:
    """Check the shape of a /webhook body.

    Raises:
        PayloadError: there is no action in it, or an id that cannot be kept.
    """
    if not isinstance(payload.get("action"), str):
        raise PayloadError(_wrong("action", payload.get("action"), "the event's name"), _SENT_BY)
    for key in ("project", "task", "annotation"):
        named = payload.get(key)
        if isinstance(named, dict):
            _check_name(f"{key}.id", named.get("id"))


def _check_name(key: str, value: object) -> None:
    """See that the id of a task or a project is one that can be stored."""
    if isinstance(value, (dict, list, bool, float)):
        raise PayloadError(_wrong(key, value, "a number or a text"), _SENT_BY)
    text = str(value)
    is_odd_number = isinstance(value, int) and value not in _NUMBERS
    if is_odd_number or len(text) > _MAX_NAME_CHARS or "\0" in text or not text.isprintable():
        raise PayloadError(f"The request's {key!r} is {text[:80]!a}, which is no name that can be kept.", _SENT_BY)


def _wrong(key: str, value: object, expected: str) -> str:
    found = "missing" if value is None else f"a {_kind(value)}"
    return f"The request's {key!r} is {found}; it must be {expected}."


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    names: dict[type, str] = {dict: "object", list: "list", str: "text", int: "number", float: "number"}
    return names.get(type(value), "null")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
