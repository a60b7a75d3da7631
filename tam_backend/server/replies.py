"""What replies look like: pages that load nothing foreign, and the one format of every error.

    {"error": {"type": "MediaNotFoundError", "message": "...", "remedy": "...", "reference": "1f0c22aa"}}

`type` is the class of errors.py (or InternalError), `message` one sentence, `remedy` what to do (may be empty), and
`reference` what to look for in the log. The HTTP status is the error's. Sentence and remedy also stand in the
status line's reason, because that is the only part of an error reply that Label Studio 1.23.2 passes on: it answers the
browser with {"errors": ["404 Client Error: <reason> for url: ..."]}, and shows it when a backend cannot be connected.
"""

from __future__ import annotations

from flask import Response, jsonify, make_response

from tam_backend.problems import Problem


def html_reply(page: str, nonce: str) -> Response:
    """Answer with a page of ours that may run and load nothing but its own.

    Args:
        page: HTML whose <style> and <script> carry the nonce.
        nonce: new for every reply.
    """
    reply = make_response(page)
    reply.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; "
        "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    reply.headers["Cache-Control"] = "no-store"
    return reply


def error_reply(problem: Problem) -> Response:
    """Answer with a problem."""
    reply = jsonify(
        error={
            "type": problem.type,
            "message": problem.message,
            "remedy": problem.remedy,
            "reference": problem.reference,
        }
    )
    reply.status = f"{problem.status} {_reason(problem)}"
    if problem.status == 401:
        reply.headers["WWW-Authenticate"] = 'Basic realm="tam-backend", charset="UTF-8"'
    elif problem.status == 503:
        reply.headers["Retry-After"] = "5"
    return reply


def _reason(problem: Problem) -> str:
    """Fit what happened and what to do into a status line: printable ASCII, one line, not too long for proxies."""
    sentence = " ".join(f"{problem.message} {problem.remedy}".split())
    return "".join(char if " " <= char <= "~" else "?" for char in sentence)[:400]
