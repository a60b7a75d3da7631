"""How to reach the Label Studio that we serve (by the settings, or by what it tells at /setup), and who works there."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping

from tam_backend.errors import LabelStudioError
from tam_backend.labelstudio.client import LabelStudioClient
from tam_backend.settings import Settings

logger = logging.getLogger(__name__)

# Somebody waits for the answer to a click.
_ASK_TIMEOUT_S = 3.0
# Where Label Studio has several people, or cannot tell, it is not asked at every click.
_ASK_AGAIN_S = 300.0


class LabelStudioAccess:
    """The address and the credentials, as far as they are known. Thread-safe.

    What the settings name wins: a key of the settings is never used for an address learnt from a request.
    """

    def __init__(self, settings: Settings) -> None:
        self._url = settings.label_studio_url
        self._key = settings.label_studio_api_key.get_secret_value()
        self._client = LabelStudioClient(self._url, self._key) if self._url and self._key else None
        self._learnt_url = self._url
        self._not_alone_until_s = 0.0
        self._lock = threading.Lock()

    def learn(self, url: str, access_token: str) -> None:
        """Take what Label Studio told at /setup, as far as the settings say nothing.

        A new address without a token gets none: the token of the old one is nobody else's.
        """
        if self._key:
            return
        url = self._url or url.rstrip("/")
        with self._lock:
            if access_token:
                self._client, self._learnt_url = LabelStudioClient(url, access_token), url
            elif url != self._learnt_url:
                self._client, self._learnt_url = None, url
            self._not_alone_until_s = 0.0

    @property
    def client(self) -> LabelStudioClient | None:
        """The way to Label Studio's API; None where no key is known."""
        with self._lock:
            return self._client

    def client_within(self, seconds: float) -> LabelStudioClient | None:
        """Return a way to Label Studio's API that waits no longer than that for an answer; None without a key."""
        client = self.client
        return None if client is None else client.within(seconds)

    def only_user(self) -> str | None:
        """Return who it must be that clicks, as `annotators.author_of` does: the only one in Label Studio.

        None where there are several people, or it cannot be found out in 3 s.
        """
        client = self.client_within(_ASK_TIMEOUT_S)
        if client is None or time.monotonic() < self._not_alone_until_s:
            return None
        try:
            users = client.user_ids()
        except LabelStudioError as error:
            logger.info("Whether only one person works in Label Studio cannot be told: %s", error)
            users = []
        if len(users) == 1:
            return str(users[0])
        with self._lock:
            self._not_alone_until_s = time.monotonic() + _ASK_AGAIN_S
        return None

    def authorization(self) -> Mapping[str, str]:
        """Return headers for Label Studio; empty where no key is known."""
        client = self.client
        return client.authorization() if client is not None else {}
