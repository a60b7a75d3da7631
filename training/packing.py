"""Everything that a training draws from, packed small: `python -m training.packing --config C.toml FOLDER`.

For a machine that the data has to be carried to: photographs as JPEG, masks as PNG, and the segments, which take
minutes to find; one file for each of "bsds500", "photos", "cutouts" and "videos". A config reads them with `packed`.
"""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from training.photographs import Film
from training.segments import AnnotatedImage, Segment

_JPEG_QUALITY = 85
_SUFFIX = ".pack"


@dataclass(frozen=True)
class _PackedImage:
    name: str
    image: bytes
    regions: tuple[bytes, ...]
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class _PackedFilm:
    name: str
    frames: tuple[bytes, ...]
    labels: tuple[bytes, ...]


Packed = TypeVar("Packed", _PackedImage, _PackedFilm)


def pack(folder: Path, source: str, content: Sequence[AnnotatedImage | Film], quality: int = _JPEG_QUALITY) -> Path:
    """Write one source; pictures lose what JPEG of this quality (0 to 100) loses, masks nothing. Returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / (source + _SUFFIX)
    packed = [_packed_film(one, quality) if isinstance(one, Film) else _packed(one, quality) for one in content]
    file.write_bytes(pickle.dumps(packed, protocol=5))
    return file


def unpack_images(folder: Path, source: str) -> list[AnnotatedImage]:
    """Read photographs or cut-outs that `pack` wrote; none if there is no such file.

    Only for files of one's own: a pickle can run anything.
    """
    return [
        AnnotatedImage(one.name, _rgb(one.image), tuple(_ids(region) for region in one.regions), one.segments)
        for one in _read(folder, source, _PackedImage)
    ]


def unpack_films(folder: Path, source: str) -> list[Film]:
    """Read films that `pack` wrote; none if there is no such file. Only for files of one's own."""
    return [
        Film(one.name, np.stack([_rgb(frame) for frame in one.frames]), np.stack([_ids(ids) for ids in one.labels]))
        for one in _read(folder, source, _PackedFilm)
    ]


def _read(folder: Path, source: str, kind: type[Packed]) -> list[Packed]:
    file = folder / (source + _SUFFIX)
    content: list[Packed] = pickle.loads(file.read_bytes()) if file.exists() else []
    if not all(isinstance(one, kind) for one in content):
        raise ValueError(f"{file} holds something else than {kind.__name__.removeprefix('_Packed').lower()}s.")
    return content


def _packed(image: AnnotatedImage, quality: int) -> _PackedImage:
    return _PackedImage(image.name, _jpeg(image.image, quality), _pngs(image.regions), image.segments)


def _packed_film(film: Film, quality: int) -> _PackedFilm:
    return _PackedFilm(film.name, tuple(_jpeg(frame, quality) for frame in film.frames), _pngs(film.labels))


def _jpeg(rgb: NDArray[np.uint8], quality: int) -> bytes:
    return cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def _pngs(maps: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]) -> tuple[bytes, ...]:
    return tuple(cv2.imencode(".png", ids, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes() for ids in maps)


def _rgb(data: bytes) -> NDArray[np.uint8]:
    bgr = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))
    return np.ascontiguousarray(bgr[..., ::-1], np.uint8)


def _ids(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED), np.uint8)


def main() -> None:
    """Read a config's sources and write them."""
    from training.loop import read_config  # noqa: PLC0415 - torch, which this file else does without
    from training.pictures import read_sources  # noqa: PLC0415 - it imports this file
    from training.tracker import TrackerConfig  # noqa: PLC0415 - the same

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help="of training.tracker")
    parser.add_argument("--quality", type=int, default=_JPEG_QUALITY, help="of JPEG, 0 to 100")
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    sources = read_sources(read_config(TrackerConfig, options.config))
    named: dict[str, Sequence[AnnotatedImage | Film]] = {
        **sources.photographs,
        "cutouts": sources.cutouts,
        "videos": sources.films,
    }
    for name, content in named.items():
        file = pack(options.folder, name, content, options.quality)
        print(f"{file}: {len(content)}, {file.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
