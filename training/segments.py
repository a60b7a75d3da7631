"""Turn BSDS500's human segmentations into a store of object-like segments, computed once and kept on disk."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat  # type: ignore[import-untyped]

# Region ids are kept in a byte; BSDS500 has at most 230 or so regions an image, beyond that they are ignored.
_MAX_REGIONS = 255
_AREA_RANGE = (0.004, 0.6)
_UNIONS_PER_ANNOTATOR = 10
_MAX_UNION = 5
# Bump when the meaning of the stored fields changes.
_VERSION = 1


@dataclass(frozen=True)
class Segment:
    """One region of one annotator, or a union of a few that touch.

    Args:
        annotator: index into `AnnotatedImage.regions`.
        region_ids: the ids in it.
        area: share of the image.
        border: share of the outline that lies on the image's border; whole objects have little.
        agreement: 0..1; mean IoU with the best union of regions of each other annotator: is it a thing to others too?
        regions_of_annotator: into how many regions the annotator cut the image; few means whole objects.
        box_xyxy: pixels, right and bottom exclusive.
        taught: a whole thing that did not come from the people who cut the image (`training.things`).
    """

    annotator: int
    region_ids: tuple[int, ...]
    area: float
    border: float
    agreement: float
    regions_of_annotator: int
    box_xyxy: tuple[int, int, int, int]
    taught: bool = False


@dataclass(frozen=True, eq=False)
class AnnotatedImage:
    """An image with its human segmentations.

    Args:
        name: the file's stem.
        image: (H, W, 3) uint8 RGB.
        regions: one (H, W) uint8 map of region ids per annotator.
        segments: the candidates.
    """

    name: str
    image: NDArray[np.uint8]
    regions: tuple[NDArray[np.uint8], ...]
    segments: tuple[Segment, ...]

    def mask(self, segment: Segment) -> NDArray[np.uint8]:
        """Return (H, W) uint8: 255 on the segment."""
        table = np.zeros(256, np.uint8)
        table[list(segment.region_ids)] = 255
        return np.asarray(cv2.LUT(self.regions[segment.annotator], table), np.uint8)


def load_segments(root: Path, splits: Sequence[str], cache: Path) -> list[AnnotatedImage]:
    """Return the annotated images of some splits of BSDS500, from `cache` if they were computed before.

    Args:
        root: the folder with images/SPLIT/*.jpg and groundTruth/SPLIT/*.mat.
        splits: of "train", "val", "test".
        cache: a folder for the result.
    """
    path = cache / f"bsds500-{'+'.join(splits)}-v{_VERSION}.pickle"
    if not path.exists():
        images = [
            _annotated(file, root) for split in splits for file in sorted((root / "images" / split).glob("*.jpg"))
        ]
        cache.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(images, protocol=5))
    loaded: list[AnnotatedImage] = pickle.loads(path.read_bytes())
    return loaded


def read_photograph(file: Path) -> NDArray[np.uint8]:
    """Return (H, W, 3) uint8 RGB. Raises ValueError if the file is no image."""
    bgr = cv2.imread(str(file))
    if bgr is None:
        raise ValueError(f"{file} is not an image.")
    return np.ascontiguousarray(bgr[..., ::-1], np.uint8)


def _annotated(file: Path, root: Path) -> AnnotatedImage:
    image = read_photograph(file)
    truth = loadmat(str(root / "groundTruth" / file.parent.name / f"{file.stem}.mat"))["groundTruth"]
    raw = [truth[0, i]["Segmentation"][0, 0].astype(np.int32) for i in range(truth.shape[1])]
    regions = [np.where(r > _MAX_REGIONS, 0, r).astype(np.uint8) for r in raw]
    return annotate(file.stem, image, regions)


def annotate(name: str, image: NDArray[np.uint8], regions: Sequence[NDArray[np.uint8]]) -> AnnotatedImage:
    """Find the candidate segments of an image. Deterministic: the random unions are seeded by the name."""
    rng = np.random.default_rng(list(name.encode()))
    segments = [
        describe(regions, annotator, ids)
        for annotator, own in enumerate(regions)
        for ids in _candidates(own, rng)
        if _AREA_RANGE[0] <= np.isin(own, ids).mean() <= _AREA_RANGE[1]
    ]
    return AnnotatedImage(name, image, tuple(regions), tuple(segments))


def _candidates(regions: NDArray[np.uint8], rng: np.random.Generator) -> Iterator[tuple[int, ...]]:
    """Yield every region, then random unions of neighbours that shun the image's border."""
    count = int(regions.max()) + 1
    adjacency = _adjacency(regions, count)
    on_border = np.bincount(_border(regions), minlength=count)
    shyness = np.exp(-6 * on_border / (adjacency.sum(1) + on_border + 1))
    yield from ((region,) for region in range(1, count))
    seen: set[tuple[int, ...]] = set()
    for _ in range(min(_UNIONS_PER_ANNOTATOR, count) if count > 1 else 0):
        ids = {int(rng.integers(1, count))}
        for _ in range(int(rng.integers(1, _MAX_UNION))):
            weight = adjacency[list(ids)].sum(0) * shyness
            weight[[0, *ids]] = 0
            if weight.sum() <= 0:
                break
            ids.add(int(rng.choice(count, p=weight / weight.sum())))
        union = tuple(sorted(ids))
        if len(union) > 1 and union not in seen:
            seen.add(union)
            yield union


def _adjacency(regions: NDArray[np.uint8], count: int) -> NDArray[np.float64]:
    """Return (count, count): along how many pixel sides two regions touch."""
    pairs = np.zeros(count * count)
    for a, b in ((regions[1:], regions[:-1]), (regions[:, 1:], regions[:, :-1])):
        touch = a != b
        pairs += np.bincount(a[touch].astype(np.int64) * count + b[touch], minlength=count * count)
    matrix = pairs.reshape(count, count)
    return matrix + matrix.T


def _border(regions: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]])


def describe(regions: Sequence[NDArray[np.uint8]], annotator: int, ids: tuple[int, ...]) -> Segment:
    """Measure one union of regions of one annotator, against the others' regions too."""
    own = regions[annotator]
    mask = np.isin(own, ids)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    outline = (mask[1:] != mask[:-1]).sum() + (mask[:, 1:] != mask[:, :-1]).sum()
    on_border = int(np.isin(_border(own), ids).sum())
    others = [other for index, other in enumerate(regions) if index != annotator]
    return Segment(
        annotator=annotator,
        region_ids=ids,
        area=float(mask.mean()),
        border=float(on_border / (outline + on_border + 1)),
        agreement=float(np.mean([_best_union_iou(mask, other) for other in others])) if others else 1.0,
        regions_of_annotator=int(own.max()),
        box_xyxy=(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1),
    )


def _best_union_iou(mask: NDArray[np.bool_], other: NDArray[np.uint8]) -> float:
    """Return the IoU of a mask with the union of those regions that lie mostly inside it."""
    inside = np.bincount(other[mask], minlength=256)
    size = np.bincount(other.ravel(), minlength=256)
    chosen = inside * 2 > size
    overlap = inside[chosen].sum()
    return float(overlap / (mask.sum() + size[chosen].sum() - overlap))
