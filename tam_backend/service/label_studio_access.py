"""How to reach the Label Studio that we serve (by the settings, or by what it tells at /setup), and who works there."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping

from tam_backend.errors import LabelStudioError, StoreError
from tam_backend.labelstudio.client import LabelStudioClient
from tam_backend.problems import ProblemLog
from tam_backend.settings import Settings
from tam_backend.store.learnt_access import Learnt, LearntAccess

logger = logging.getLogger(__name__)

# Somebody waits for the answer to a click.
_ASK_TIMEOUT_S = 3.0
# Where Label Studio has several people, or cannot tell, it is not asked at every click.
_ASK_AGAIN_S = 300.0
# What another process learnt is known here so soon; where nothing is known, at once.
_LOOK_AGAIN_S = 1.0


class LabelStudioAccess:
    """The address and the credentials, as far as any process on the database knows them. Thread-safe.

    What the settings name wins: a key of the settings is never used for an address learnt from a request.

    Args:
        settings: of the backend.
        learnt: what Label Studio told, to whichever process.
        problems: told of a token that cannot be read.
    """

    def __init__(self, settings: Settings, learnt: LearntAccess, problems: ProblemLog) -> None:
        self._url = settings.label_studio_url
        self._key = settings.label_studio_api_key.get_secret_value()
        self._needs_nothing = bool(self._url and self._key)
        self._believes = bool(self._url or settings.basic_auth_user)  # see `Projects`: who may tell
        self._learnt = learnt
        self._problems = problems
        self._client = LabelStudioClient(self._url, self._key) if self._needs_nothing else None
        self._known = Learnt()
        self._look_again_s = 0.0
        self._not_alone_until_s = 0.0
        self._lock = threading.Lock()

    def learn(self, url: str, access_token: str) -> None:
        """Take what Label Studio told at /setup, as far as the settings say nothing.

        A new address without a token gets none: the token of the old one is nobody else's.

        Raises:
            LabelStudioError: the token is none.
        """
        if self._needs_nothing:
            return
        url, token = self._url or url.rstrip("/"), "" if self._key else access_token
        if token:
            LabelStudioClient(url, token)
        try:
            self._learnt.learn(url, token)
        except StoreError as error:
            self._problems.failed("what Label Studio told of itself", error)
            return
        with self._lock:
            self._look_again_s = 0.0

    @property
    def url(self) -> str:
        """Where Label Studio is; "" where that is not known."""
        return self._url or self._look().url

    @property
    def client(self) -> LabelStudioClient | None:
        """The way to Label Studio's API; None where no key is known."""
        self._look()
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

    def _look(self) -> Learnt:
        """Return what was learnt, of which other processes may know more than this one."""
        if self._needs_nothing or not self._believes:
            return self._known
        with self._lock:
            if time.monotonic() < self._look_again_s:
                return self._known
        try:
            found = self._learnt.get()
        except StoreError as error:
            logger.warning("What Label Studio told of itself cannot be read: %s", error)
            return self._known
        if self._url and found.url != self._url:
            found = Learnt()  # of another Label Studio, before the settings named this one
        with self._lock:
            if found != self._known:
                self._take(found)
            if self._client is not None:
                self._look_again_s = time.monotonic() + _LOOK_AGAIN_S
            return self._known

    def _take(self, found: Learnt) -> None:
        if found.is_lost and not self._known.is_lost:
            self._problems.note(
                "Label Studio's token",
                "The token that Label Studio told was kept with another secret: it is forgotten.",
                "Give all backends on this database the same TAM_SECRET, then open Settings > Model of a project in "
                "Label Studio, which tells it again; or set LABEL_STUDIO_API_KEY.",
            )
        self._known = found
        self._client = LabelStudioClient(found.url, found.token) if found.token else None
        self._not_alone_until_s = 0.0
