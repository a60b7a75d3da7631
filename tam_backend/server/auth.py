"""Who may call which route: basic auth as Label Studio sends it, and none where it cannot.

With BASIC_AUTH_USER and BASIC_AUTH_PASS set, every route asks for them except

- /health and /ready, for load balancers and container checks, which have no password. They tell nothing but that we are
  up, and what we wait for.
- /webhook, because Label Studio sends no credentials there, whatever its backend is set to. Only what comes to the
  address with our secret starts work (events.py); wrong credentials, if some are sent, are still refused.
- /frames and /videos, which browsers load without credentials: each of their URLs carries its own signature.

Without the two settings everything is open, as Label Studio's own example backends are; bind to 127.0.0.1 then, or to
a network of its own.
"""

from __future__ import annotations

import hmac

from flask import Request

from tam_backend.errors import UnauthorizedError
from tam_backend.settings import Settings

_OPEN_ENDPOINTS = frozenset({"health", "ready", "frames.frame", "frames.video"})
_ENDPOINTS_CALLED_WITHOUT_CREDENTIALS = frozenset({"webhook"})


def is_anonymous(request: Request) -> bool:
    """Tell whether a request says nothing of who sends it."""
    return request.authorization is None and "Authorization" not in request.headers


def check_credentials(request: Request, settings: Settings) -> None:
    """Let the request through, or refuse it.

    Raises:
        UnauthorizedError: credentials are needed, and are missing or wrong.
    """
    user, password = settings.basic_auth_user, settings.basic_auth_pass.get_secret_value()
    if not (user or password) or request.endpoint in _OPEN_ENDPOINTS or request.method == "OPTIONS":
        return
    given = request.authorization
    if is_anonymous(request):
        if request.endpoint in _ENDPOINTS_CALLED_WITHOUT_CREDENTIALS:
            return
        raise UnauthorizedError(
            "This backend asks for a user and a password.",
            "Set them in Label Studio under Settings > Model > Edit > Basic auth.",
        )
    given_user = (given.username or "") if given is not None and given.type == "basic" else ""
    given_password = (given.password or "") if given is not None and given.type == "basic" else ""
    # Both are always compared, so that the time taken does not tell which one was wrong.
    user_fits = hmac.compare_digest(given_user.encode("utf-8", "replace"), user.encode())
    password_fits = hmac.compare_digest(given_password.encode("utf-8", "replace"), password.encode())
    if not (user_fits and password_fits):
        raise UnauthorizedError(
            "The user or the password is wrong.",
            "Compare Label Studio's Settings > Model with the backend's BASIC_AUTH_USER and BASIC_AUTH_PASS.",
        )
