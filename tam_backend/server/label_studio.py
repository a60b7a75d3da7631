"""How to reach the Label Studio that we serve: from the settings, or from what it tells at /setup."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from tam_backend.labelstudio.client import LabelStudioClient
from tam_backend.settings import Settings


class LabelStudioAccess:
    """The address and the credentials, as far as they are known. Thread-safe.

    What the settings name wins: a key of the settings is never used for an address learnt from a request.
    """

    def __init__(self, settings: Settings) -> None:
        self._url = settings.label_studio_url
        self._key = settings.label_studio_api_key.get_secret_value()
        self._client = LabelStudioClient(self._url, self._key) if self._url and self._key else None
        self._learnt_url = self._url
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

    @property
    def client(self) -> LabelStudioClient | None:
        """The way to Label Studio's API; None where no key is known."""
        with self._lock:
            return self._client

    def authorization(self) -> Mapping[str, str]:
        """Return headers for Label Studio; empty where no key is known."""
        client = self.client
        return client.authorization() if client is not None else {}
