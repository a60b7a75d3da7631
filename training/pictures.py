"""All that a training draws from, read as its config says: photographs and how often each source, cut-outs, films."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.loop import TrainingConfig
from training.packing import unpack_films, unpack_images
from training.photographs import HELD_OUT_FILMS, Film, film_stills, load_films, load_photographs
from training.segments import AnnotatedImage, load_segments
from training.things import load_cutouts, taught


@dataclass(frozen=True, eq=False)
class Sources:
    """What lies on the disk.

    Args:
        photographs: "bsds500" and "photos" -> pictures with segments; sources that there are not are left out.
        cutouts: things on nothing.
        films: real videos, without those that are kept for validation.
    """

    photographs: dict[str, list[AnnotatedImage]]
    cutouts: list[AnnotatedImage]
    films: list[Film]


@dataclass(frozen=True, eq=False)
class Pictures:
    """What clips and stills are made of.

    Args:
        photographs: with segments; frames of films among them.
        weights: (N,) how often each photograph is drawn; they add up to 1.
        cutouts: things on nothing.
        films: real videos.
    """

    photographs: list[AnnotatedImage]
    weights: NDArray[np.float64]
    cutouts: list[AnnotatedImage]
    films: list[Film]


def load_pictures(config: TrainingConfig) -> Pictures:
    """Read the sources that a config names, and how often it wants each.

    Raises:
        ValueError: `shares` speaks of a source that the config does not name, or leaves nothing to draw.
        FileNotFoundError: a source is not where the config says.
    """
    sources = read_sources(config)
    photographs = {**sources.photographs, "videos": film_stills(sources.films)}
    weights = weigh({name: len(own) for name, own in photographs.items() if own}, config.shares)
    pictures = [image for own in photographs.values() for image in own]
    return Pictures(pictures, weights, sources.cutouts, sources.films)


def read_sources(config: TrainingConfig) -> Sources:
    """Read what a config names, from `training.packing`'s files if it names those.

    Raises:
        FileNotFoundError: a source is not where the config says.
    """
    if config.packed:
        folder = Path(config.packed)
        photographs = {name: unpack_images(folder, name) for name in ("bsds500", "photos")}
        return Sources(
            {name: own for name, own in photographs.items() if own},
            unpack_images(folder, "cutouts"),
            unpack_films(folder, "videos"),
        )
    images = load_segments(Path(config.data), config.splits, Path(config.cache))
    if config.foregrounds:
        images = taught(images, Path(config.foregrounds), config.agreed)
    photographs = {"bsds500": images}
    if config.photos:
        photographs["photos"] = load_photographs(Path(config.photos))
    return Sources(
        photographs,
        load_cutouts(Path(config.cutouts)) if config.cutouts else [],
        load_films(Path(config.videos), without=HELD_OUT_FILMS) if config.videos else [],
    )


def weigh(sources: Mapping[str, int], shares: Mapping[str, float]) -> NDArray[np.float64]:
    """Return (N,) how often each picture of the sources, one source after the other, is drawn; adds up to 1.

    Args:
        sources: name -> how many pictures it has, at least one.
        shares: name -> how often that source is drawn; {} = every picture of every source alike.

    Raises:
        ValueError: a name that is no source, or nothing left to draw.
    """
    unknown = sorted(set(shares) - set(sources))
    if unknown:
        raise ValueError(f"`shares` names {', '.join(unknown)}; the config's sources are {', '.join(sources)}.")
    per_picture = {name: shares.get(name, 0.0) / count if shares else 1.0 for name, count in sources.items()}
    weights = np.repeat(np.array(list(per_picture.values()), np.float64), list(sources.values()))
    if not weights.sum() > 0:
        raise ValueError(f"`shares` leaves nothing to draw from {', '.join(sources)}.")
    return np.asarray(weights / weights.sum(), np.float64)
