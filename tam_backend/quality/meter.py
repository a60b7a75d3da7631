"""How far a mask is to be trusted: predicts its IoU with the truth from what tracking showed of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tam_backend.models.protocols import TrackingStep
from tam_backend.quality.evidence import AbsenceEvidence, FrameEvidence, Look, Trace
from tam_backend.quality.mask_sums import MEASURED, mask_sums
from tam_backend.quality.model import models_for


@dataclass(frozen=True)
class Verdict:
    """On one object's mask on one frame.

    Args:
        quality: 0..1. Of a mask: the IoU with the truth to expect. Of an absent object: the probability that it is
            really not to be seen.
        absent: the mask is empty.
    """

    quality: float
    absent: bool


class QualityMeter:
    """Judges the masks of one pass over a video, frame by frame; remembers where each object was last.

    Args:
        profile: the name of the tracker's profile; its family has coefficients of its own, or those for any tracker
            (`benchmarks.calibration` fits both).
    """

    def __init__(self, profile: str) -> None:
        self._models = models_for(profile)
        self._traces: dict[int, Trace] = {}

    def look(self, step: TrackingStep) -> Look:
        """Look at a tracker's answer; does not wait for a GPU, and may be asked for before earlier frames are judged.

        On a GPU nothing is measured that these models do not ask for, unless they ask for what only the host measures.
        """
        wanted = {*self._models.mask.names, *self._models.absence.names}
        on_device = step.probabilities.is_cuda and wanted <= MEASURED
        return mask_sums(step.probabilities.device).look(step) if on_device else FrameEvidence(step)

    def measure(self, step: TrackingStep, given: Collection[int] = ()) -> dict[int, Verdict]:
        """Look at a frame and judge it; see `judge`."""
        return self.judge(step.object_ids, self.look(step), given)

    def judge(self, object_ids: Sequence[int], look: Look, given: Collection[int] = ()) -> dict[int, Verdict]:
        """Judge a frame; call it once for every frame of the pass, in their order.

        Args:
            object_ids: in the order of the tracker's channels.
            look: of `look`.
            given: the objects whose mask was not predicted; they are not judged.

        Returns:
            Object id -> verdict.
        """
        verdicts: dict[int, Verdict] = {}
        traces: dict[int, Trace] = {}
        for channel, object_id in enumerate(object_ids, start=1):
            seen = look.observe(channel, self._traces.get(object_id))
            if seen.trace is not None:
                traces[object_id] = seen.trace
            if object_id not in given:
                absent = isinstance(seen.evidence, AbsenceEvidence)
                model = self._models.absence if absent else self._models.mask
                verdicts[object_id] = Verdict(model.predict(vars(seen.evidence)), absent)
        self._traces = traces
        return verdicts
