"""Texts that stand in the database sealed: who reads it, or a copy of it, reads no token of Label Studio."""

from __future__ import annotations

from base64 import urlsafe_b64encode

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


class Seal:
    """Seals texts with a key that follows from the backend's secret.

    Args:
        secret: see `server_secret`.
    """

    def __init__(self, secret: bytes) -> None:
        derived = HKDF(SHA256(), length=32, salt=None, info=b"tam_backend: seal of what is kept").derive(secret)
        self._fernet = Fernet(urlsafe_b64encode(derived))

    def closed(self, text: str) -> str:
        """Return a text sealed."""
        return self._fernet.encrypt(text.encode()).decode()

    def opened(self, sealed: str) -> str | None:
        """Return the text that was sealed; None where that was done with another secret, or it is damaged."""
        try:
            return self._fernet.decrypt(sealed.encode()).decode()
        except InvalidToken:
            return None
