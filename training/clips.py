"""Synthetic clips with exact masks: things from photographs that move, bend, hide each other, leave and return."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tam_backend.adaptation.camera import photograph
from training.layers import Layer, SegmentPicker, cut_out, thin_shape, without
from training.motion import MotionStyle, Placement, Sampling, sampling_maps, smooth_path
from training.segments import AnnotatedImage

_SPEEDS, _SPEED_SHARES = (0.3, 1.0, 2.0), (0.3, 0.45, 0.25)
EXITS = 0.12
_WARPED_SHARE = 0.4
_LIFTED_SHARE = 0.5
_THIN_SHARE = 0.12
_CUTOUT_SHARE = 0.5
# Of what counts as small, in pixels of the frame: things of one to three cells of the tracker's memory.
_SMALL_EXTENT = (10.0, 56.0)
_SMALL_PACE = 0.6
_SMALLEST_AREA = 40


class Clip(NamedTuple):
    """A clip and its truth.

    Args:
        frames: (T, S, S, 3) uint8 RGB.
        labels: (T, S, S) uint8; 0 background (and things nobody asked for), i = object i.
    """

    frames: NDArray[np.uint8]
    labels: NDArray[np.uint8]


class ClipMaker:
    """Composes clips. The same seed gives the same clips.

    Args:
        images: photographs.
        side: of the frames, pixels.
        length: frames per clip.
        seed: of everything.
        exits: how often a cut-out leaves and comes back.
        cutouts: things on nothing (`training.things`); half of what is pasted, if there are any.
        small: in how many clips the things that are pasted are only 10 to 56 pixels long.
        weights: how often each photograph is drawn, one number each; None = all alike.
    """

    def __init__(
        self,
        images: Sequence[AnnotatedImage],
        side: int,
        length: int,
        seed: int,
        exits: float = EXITS,
        cutouts: Sequence[AnnotatedImage] = (),
        small: float = 0.0,
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        self.images, self.side, self.length, self.exits, self.small = images, side, length, exits, small
        self._things = SegmentPicker(images, 0.15, (0.006, 0.45), 0.5, weights)
        self._parts = SegmentPicker(images, 0.35, (0.008, 0.5), 0.5, weights)
        self._cutouts = SegmentPicker(cutouts, max_border=1.0, area_range=(0.0, 1.0))
        self._rng = np.random.default_rng(seed)

    def __iter__(self) -> Iterator[Clip]:
        cv2.setNumThreads(0)
        while True:
            clip = self._compose()
            if clip is not None:
                yield clip

    def _compose(self) -> Clip | None:
        rng, side = self._rng, self.side
        # Half of all camera work is calm; the rest shakes by up to 2 % of the frame a step.
        shake = 0.0 if rng.random() < 0.5 else rng.uniform(0, 0.02) * side
        camera = np.cumsum(rng.normal(0, shake, (self.length, 2)), 0).astype(np.float32) * 0.5
        camera -= camera[0]
        small = rng.random() < self.small
        warped = not small and rng.random() < _WARPED_SHARE
        frames, labels = self._background(camera, warped)
        for label, layer in self._cast(warped):
            self._paint(frames, labels, label, layer, camera, small and label > 0)
        least = _SMALLEST_AREA if small else 0.002 * side * side
        if not least < (labels[0] == 1).sum() < 0.7 * side * side:
            return None
        if (labels[0] == 2).sum() < least / 2:
            labels[labels == 2] = 0
        return Clip(photograph(frames, rng), labels)

    def _background(self, camera: NDArray[np.float32], warped: bool) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Return (T, S, S, 3) float RGB and labels; where `warped`, one of the image's own segments is object 1."""
        rng, side = self._rng, self.side
        index = self._parts.image(rng)
        source = self.images[index]
        image = source.image
        height, width = image.shape[:2]
        cover = rng.uniform(0.55, 1.0) * min(height, width)
        centre = (rng.uniform(0.35, 0.65) * width, rng.uniform(0.35, 0.65) * height)
        layer = None
        if warped:
            layer = cut_out(source, self._parts.segment(rng, index), rng)
            half = cover / 2 * 0.9
            centre = (
                float(
                    np.clip(
                        layer.centre[0] + rng.normal(0, 0.1) * cover, min(half, width / 2), max(width - half, width / 2)
                    )
                ),
                float(
                    np.clip(
                        layer.centre[1] + rng.normal(0, 0.1) * cover,
                        min(half, height / 2),
                        max(height - half, height / 2),
                    )
                ),
            )
        speed = self._speed() * (1.0 if warped else 0.7)
        style = MotionStyle(speed, (0.05 if warped else 0.02) * side)
        lifted = layer is not None and rng.random() < _LIFTED_SHARE and layer.alpha.mean() < 0.3 * 255
        if layer is not None and lifted:
            image = without(image, layer.alpha)
        frames = np.empty((self.length, side, side, 3), np.float32)
        labels = np.zeros((self.length, side, side), np.uint8)
        state = rng.bit_generator.state
        middle = (side / 2, side / 2)
        maps = sampling_maps(rng, style, side, Placement(centre, middle, side / cover), camera, 0.08)
        for t, (map_x, map_y, _) in enumerate(maps):
            frames[t] = cv2.remap(image, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
            if layer is not None and not lifted:
                alpha = cv2.remap(layer.alpha, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
                labels[t][alpha > 127] = 1
        if layer is not None and lifted:
            # The thing starts where it was in its photograph and then goes its own way over what is behind it.
            # The same random state gives the same first frame, flip and bend as the background.
            after = rng.bit_generator.state
            rng.bit_generator.state = state
            own = camera + np.array(
                smooth_path(
                    np.random.default_rng(int(after["state"]["state"]) % 2**32),
                    self.length,
                    2,
                    0.035 * side,
                    0.008 * side,
                )
            )
            place = Placement(centre, middle, side / cover, layer.box_xyxy)
            own_maps = sampling_maps(rng, style, side, place, own, 0.08)
            for t, sampling in enumerate(own_maps):
                self._blend(frames[t], labels[t], 1, source.image, layer.alpha, sampling, 0.7)
            rng.bit_generator.state = after
        return frames, labels

    def _cast(self, warped: bool) -> list[tuple[int, Layer]]:
        """Return what is pasted, back to front: (label, layer); label 0 hides others and is nobody's object."""
        rng = self._rng
        labels: list[int] = [] if warped else [1]
        if rng.random() < (0.5 if warped else 0.7):
            labels.append(2)
        labels += [0] * int(rng.binomial(2, 0.25))
        rng.shuffle(labels)
        cast: list[tuple[int, Layer]] = []
        for label in labels:
            if cast and rng.random() < 0.2:
                # A look-alike: the very same thing again under another label.
                layer = cast[-1][1]
            elif rng.random() < _THIN_SHARE:
                layer = thin_shape(self.images[int(rng.integers(len(self.images)))].image, rng)
            else:
                ready = bool(self._cutouts.usable) and rng.random() < _CUTOUT_SHARE
                picker = self._cutouts if ready else self._things
                index = picker.image(rng)
                layer = cut_out(picker.images[index], picker.segment(rng, index), rng)
            cast.append((label, layer))
        return cast

    def _paint(
        self,
        frames: NDArray[np.float32],
        labels: NDArray[np.uint8],
        label: int,
        layer: Layer,
        camera: NDArray[np.float32],
        small: bool,
    ) -> None:
        rng, side = self._rng, self.side
        if small:
            size = np.exp(rng.uniform(*np.log(_SMALL_EXTENT)))
        else:
            size = np.exp(rng.uniform(np.log(0.2), np.log(0.95))) * side * (1.0 if label == 1 else 0.8)
        scale = size / layer.extent
        speed = self._speed() * (_SMALL_PACE if small else 1.0)
        style = MotionStyle(speed, 0.05 * size, exit_and_return=self.length > 4 and rng.random() < self.exits)
        start = (rng.uniform(0.2, 0.8) * side, rng.uniform(0.2, 0.8) * side)
        smooth = layer.image if scale >= 0.5 else cv2.GaussianBlur(layer.image, (0, 0), 0.35 / scale)
        image = self._harmonised(np.asarray(smooth, np.uint8), layer, frames[0])
        feather = rng.uniform(0.4, 1.2)
        maps = sampling_maps(rng, style, side, Placement(layer.centre, start, scale, layer.box_xyxy), camera, 0.25)
        for t, sampling in enumerate(maps):
            self._blend(frames[t], labels[t], label, image, layer.alpha, sampling, feather)

    @staticmethod
    def _blend(
        frame: NDArray[np.float32],
        labels: NDArray[np.uint8],
        label: int,
        image: NDArray[np.uint8],
        alpha: NDArray[np.uint8],
        sampling: Sampling,
        feather: float,
    ) -> None:
        map_x, map_y, place = sampling
        if not map_x.size:
            return
        opacity = cv2.remap(alpha, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        soft = cv2.GaussianBlur(opacity.astype(np.float32) * np.float32(1 / 255), (0, 0), feather)
        colour = cv2.remap(image, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        frame[place] += (np.asarray(colour, np.float32) - frame[place]) * np.asarray(soft, np.float32)[..., None]
        labels[place][soft > 0.5] = label

    def _harmonised(self, image: NDArray[np.uint8], layer: Layer, scene: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Change the light on a cut-out; in a third of cases towards the scene's, so that colour betrays nothing."""
        rng = self._rng
        gain, offset = np.exp(rng.normal(0, 0.12)), rng.normal(0, 8, 3)
        if rng.random() < 0.35:
            own = image[layer.alpha > 127]
            pull = rng.uniform(0.3, 0.9)
            if len(own):
                offset = offset + (scene.mean((0, 1)) - own.mean(0)) * pull
        return np.clip(image * np.float32(gain) + offset.astype(np.float32), 0, 255).astype(np.uint8)

    def _speed(self) -> float:
        return float(self._rng.choice(_SPEEDS, p=_SPEED_SHARES))
