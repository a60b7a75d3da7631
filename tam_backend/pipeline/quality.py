"""How far a mask is to be trusted: predicts its IoU with the truth from what tracking showed of it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass

from tam_backend.models.protocols import TrackingStep
from tam_backend.pipeline.evidence import Evidence, FrameEvidence, Trace
from tam_backend.pipeline.quality_model import model_for


@dataclass(frozen=True)
class Verdict:
    """On one object's mask on one frame.

    Args:
        quality: 0..1. Of a mask: the IoU with the truth to expect. Of an absent object: how confident the tracker is
            that it is gone, 1 - its largest probability anywhere. That is not calibrated: trackers are too sure of it.
        absent: the mask is empty.
    """

    quality: float
    absent: bool


class QualityMeter:
    """Judges the masks of one pass over a video, frame by frame; remembers where each object was on the frame before.

    Args:
        profile: the name of the tracker's profile; its family has coefficients of its own, or those for any tracker
            (`benchmarks.calibration` fits both).
    """

    def __init__(self, profile: str) -> None:
        self._model = model_for(profile)
        self._traces: dict[int, Trace] = {}

    def measure(self, step: TrackingStep, given: Collection[int] = ()) -> dict[int, Verdict]:
        """Judge a frame; call it once for every frame of the pass, in their order.

        Args:
            step: the tracker's answer.
            given: the objects whose mask was not predicted; they are not judged.

        Returns:
            Object id -> verdict.
        """
        frame = FrameEvidence(step)
        verdicts: dict[int, Verdict] = {}
        traces: dict[int, Trace] = {}
        for channel, object_id in enumerate(step.object_ids, start=1):
            seen = frame.observe(channel, self._traces.get(object_id))
            if seen.trace is not None:
                traces[object_id] = seen.trace
            if object_id not in given:
                if isinstance(seen.evidence, Evidence):
                    verdicts[object_id] = Verdict(self._model.predict(asdict(seen.evidence)), absent=False)
                else:
                    verdicts[object_id] = Verdict(min(1.0, max(0.0, 1 - seen.evidence.peak)), absent=True)
        self._traces = traces
        return verdicts
