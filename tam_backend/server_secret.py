"""The one secret of a backend, from which signatures, the webhooks' address and the seal on kept tokens follow."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def server_secret(data_dir: Path, named: str = "") -> bytes:
    """Return the secret that the settings name or, without one, that of the folder; there it is made once.

    Args:
        data_dir: holds the file `secret`. Processes may share it.
        named: of the settings, `TAM_SECRET`: the same for all that serve the same tasks; "" = none.
    """
    if named:
        return named.encode()
    path = data_dir / "secret"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_hex(32))
            # A link, unlike a move, never replaces: of two processes that start at once, both end with one secret.
            os.link(temporary, path)
        except FileExistsError:
            return server_secret(data_dir)
        finally:
            temporary.unlink()
    return path.read_bytes()
