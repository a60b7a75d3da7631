"""The two seams every profile fills: a segmenter (frame + prompts -> mask) and a tracker (masks -> masks in time).

Embedded and official networks stand behind the same two protocols, so that nothing above this floor knows which one
it talks to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from tam_backend.types import BoolMask, Box, Point, RgbFrame


@dataclass(frozen=True, eq=False)
class FrameEmbedding:
    """What `Segmenter.encode` keeps of a frame, to be prompted many times.

    Args:
        size_hw: (height, width) of the original frame.
        input_hw: (height, width) of the frame as the network saw it, before padding.
        features: the network's own tensors by name; opaque to callers.
    """

    size_hw: tuple[int, int]
    input_hw: tuple[int, int]
    features: dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class SegmenterPrompts:
    """Everything known of one object on one frame.

    Args:
        points: pixels of the original frame; positive or negative.
        box: (x0, y0, x1, y1) in pixels of the original frame, or None.
        mask_logits: (h, w) float logits of an earlier mask over the whole frame at any resolution, or None.
    """

    points: tuple[Point, ...] = ()
    box: Box | None = None
    mask_logits: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A segmenter's answer.

    Args:
        mask: (H, W) bool at the original size.
        logits: (h, w) float32 at the network's own output resolution, over the whole frame without padding; fit to be
            given back as `SegmenterPrompts.mask_logits`.
        predicted_iou: 0..1, the network's estimate of its own IoU.
        alternatives: other readings of the same prompts (part, whole), best first; empty where the network has none.
        stability: 0..1, the IoU of the mask with itself at a stricter and a laxer threshold; None where the network's
            logits do not tell.
    """

    mask: BoolMask
    logits: Tensor
    predicted_iou: float
    alternatives: tuple[Segmentation, ...] = ()
    stability: float | None = None


class Segmenter(Protocol):
    """Frame + prompts -> mask: the expensive step and the cheap step are two verbs."""

    @property
    def name(self) -> str:
        """Name and version for `model_version`."""

    def encode(self, frame: RgbFrame) -> FrameEmbedding:
        """Look at a frame once. The expensive step."""

    def segment(self, embedding: FrameEmbedding, prompts: SegmenterPrompts) -> Segmentation:
        """Answer prompts on an encoded frame. The cheap step; deterministic, keeps nothing."""


@dataclass(frozen=True, eq=False)
class MemoryReading:
    """What one read of the tracker's memory saw, for refinement and quality. Q queries (cells), K elements each.

    Args:
        grid_hw: (h, w) of the query grid; Q = h * w, row by row.
        affinity: (objects, Q, K) float32; the softmax weights over the K nearest memory elements of each query.
        similarity: (objects, Q, K) float32; the similarities that the softmax was taken of (-inf where masked).
        indices: (objects, Q, K) int64; which memory elements they are, in the memory's reading order.
        foreground: (objects, h, w) float32 in 0..1; the affinity mass that falls on memory elements of the object.
    """

    grid_hw: tuple[int, int]
    affinity: Tensor
    similarity: Tensor
    indices: Tensor
    foreground: Tensor


@dataclass(frozen=True, eq=False)
class TrackingStep:
    """A tracker's answer for one frame.

    Args:
        object_ids: ascending; the order of the channels.
        probabilities: (1 + objects, H, W) float32 at the size of the image given, softmax-normalised, background first.
        reading: what the memory read saw; None where nothing was read (every object was given by the mask), and of a
            tracker that cannot tell (`TrackerKind.explains`).
    """

    object_ids: tuple[int, ...]
    probabilities: Tensor
    reading: MemoryReading | None = None


@dataclass(frozen=True, eq=False)
class Revision:
    """Better masks for some of the objects that a tracker has just predicted.

    Args:
        mask: integer (H, W): 0 background, i = object i; at the size of the tracker's images.
        object_ids: the objects that it speaks for.
    """

    mask: Tensor
    object_ids: tuple[int, ...]


Review = Callable[[TrackingStep], Revision | None]
"""Looks at a prediction before it is memorised; None leaves it as it is."""


class Tracker(Protocol):
    """Memorises frames with masks and predicts the masks of the next frame. One instance per pass over a video.

    Images are float32 (3, H, W) RGB in 0..1, not normalised, of the same size in every call (the caller has scaled
    them to the profile's shorter side; the tracker pads to its stride and un-pads its answer). Masks are integer
    (H, W): 0 background, i = object i.
    """

    @property
    def object_ids(self) -> tuple[int, ...]:
        """The objects in memory, ascending."""

    def track(
        self,
        image: Tensor,
        mask: Tensor | None = None,
        object_ids: Sequence[int] | None = None,
        *,
        last: bool = False,
        permanent: bool = True,
        review: Review | None = None,
    ) -> TrackingStep:
        """Advance by one frame.

        Args:
            image: the frame.
            mask: what is known of this frame, or None.
            object_ids: the objects that the mask speaks for (default: all labels in it); the others keep their
                prediction; ids never seen before join. An object the mask speaks for but does not show is absent.
            last: no frame follows, so nothing needs to be memorised.
            permanent: keep this frame in memory for good if a mask is given (a human's mask).
            review: called if anything was predicted. A revision takes the place of the prediction, in the answer and in
                memory, where its frame is kept as an ordinary one.

        Raises:
            InvalidInputError: a first frame without a mask, or sizes that do not fit.
        """

    def memorise(self, image: Tensor, mask: Tensor, object_ids: Sequence[int] | None = None) -> None:
        """Keep a frame with a human's mask for good, without moving the tracker's clock.

        For keyframes that lie elsewhere in the video than the pass has come to. Its objects join.
        """

    def step(
        self,
        image: Tensor,
        mask: Tensor | None = None,
        object_ids: Sequence[int] | None = None,
        last: bool = False,
    ) -> Tensor:
        """Return `track(...)`'s probabilities alone."""

    def remove(self, object_id: int) -> None:
        """Forget an object."""


class TrackerFactory(Protocol):
    """Makes a fresh tracker for one pass over a video; the network is shared."""

    def __call__(self) -> Tracker:
        """Make one, with an empty memory."""


@dataclass(frozen=True, eq=False)
class Models:
    """A loaded profile.

    Args:
        profile: its name.
        version: `model_version` for Label Studio; changes whenever the weights do.
        device: where the networks live.
        segmenter: shared; callers hold the device's lock around every call.
        new_tracker: makes trackers over the shared network.
        tracker_side: the shorter side, in pixels, that frames are scaled to before tracking.
        refines: whether the segmenter refines doubtful masks unless a call says otherwise.
    """

    profile: str
    version: str
    device: torch.device
    segmenter: Segmenter
    new_tracker: TrackerFactory
    tracker_side: int
    refines: bool = False

    def describe(self) -> dict[str, Any]:
        """Return names and device for logs and the status page."""
        return {"profile": self.profile, "version": self.version, "device": str(self.device)}
