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
        self._lock = threading.Lock()

    def learn(self, url: str, access_token: str) -> None:
        """Take what Label Studio told at /setup, as far as the settings say nothing."""
        if self._key or not access_token:
            return
        with self._lock:
            self._client = LabelStudioClient(self._url or url, access_token)

    def authorization(self) -> Mapping[str, str]:
        """Return headers for Label Studio; empty where no key is known."""
        with self._lock:
            client = self._client
        return client.authorization() if client is not None else {}
