"""What a camera adds to a scene: exposure, colour, motion blur, softness, noise, compression."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def photograph(frames: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return (T, H, W, 3) uint8 RGB: how one camera would have taken frames of the same shape, 0..255."""
    exposure, offset = np.exp(rng.normal(0, 0.15)), rng.normal(0, 12)
    colour = np.exp(rng.normal(0, 0.07, 3)).astype(np.float32)
    grey, blurred, noisy = rng.random() < 0.05, rng.random() < 0.2, rng.random() < 0.3
    soft = rng.uniform(0.5, 1.5) if rng.random() < 0.25 else 0.0
    jpeg_quality = int(rng.integers(25, 90)) if rng.random() < 0.4 else 0
    shot = np.empty(frames.shape, np.uint8)
    for t, frame in enumerate(frames):
        f = frame
        if blurred and t > 0:
            f = cv2.filter2D(f, -1, _motion_kernel(rng))
        if soft:
            f = cv2.GaussianBlur(f, (0, 0), soft)
        f = f * (colour * np.float32(exposure * np.exp(rng.normal(0, 0.04)))) + np.float32(offset + rng.normal(0, 3))
        if grey:
            f = np.repeat(f.mean(2, keepdims=True), 3, 2)
        if noisy:
            f = f + rng.standard_normal(f.shape, np.float32) * np.float32(4)
        shot[t] = np.clip(f, 0, 255)
        if jpeg_quality:
            _, packed = cv2.imencode(".jpg", shot[t], [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality])
            shot[t] = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
    return shot


def _motion_kernel(rng: np.random.Generator) -> NDArray[np.float32]:
    length = int(rng.integers(2, 4)) * 2 + 1
    kernel = np.zeros((length, length), np.float32)
    cv2.line(kernel, (0, int(rng.integers(length))), (length - 1, int(rng.integers(length))), 1)
    if rng.random() < 0.5:
        kernel = kernel.T.copy()
    kernel /= kernel.sum()
    return kernel
