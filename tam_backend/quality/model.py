"""From evidence to a probability: logistic models whose coefficients are data of the package."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

COEFFICIENTS = Path(__file__).with_name("quality_coefficients.json")
FALLBACK = "any"

# What lies further out than this many standard deviations counts as if it lay there: no extrapolation.
_FARTHEST = 3.0
# A share nearer to 0 or 1 counts as this near.
_SMALLEST_SHARE = 1e-3
# Adam's, with its authors' decays (Kingma and Ba, ICLR 2015); the rate falls to 0 along the steps.
_FITTING_STEPS = 3000
_FITTING_RATE = 0.03
_MOMENTUM, _VARIANCE_DECAY = 0.9, 0.999


@dataclass(frozen=True)
class LogisticModel:
    """sigmoid(bias + sum of weight * (value - mean) / scale), clipped to 3 scales; NaN counts as the mean.

    Args:
        names: of the measurements.
        log_odds: of them, those in 0..1 whose log odds are the value.
        mean: one each.
        scale: one each, above 0.
        weight: one each; 0 or of the sign of the measurement, so that more of what speaks for a mask never harms it.
        bias: the logit of a mean measurement.
    """

    names: tuple[str, ...]
    log_odds: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weight: tuple[float, ...]
    bias: float

    def predict(self, values: Mapping[str, float]) -> float:
        """Return 0..1.

        Args:
            values: at least those of `names`.
        """
        return float(self.predict_all(np.array([[values[name] for name in self.names]]))[0])

    def predict_all(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (N,) in 0..1 for (N, names) values."""
        on_scale = _on_scale(values, self.names, self.log_odds)
        standard = _standardised(on_scale, np.array(self.mean), np.array(self.scale))
        probability: NDArray[np.float64] = _sigmoid(self.bias + standard @ np.array(self.weight))
        return probability


@dataclass(frozen=True)
class QualityModels:
    """What a family of trackers is judged by.

    Args:
        mask: the IoU of a mask with the truth, from `Evidence`.
        absence: the probability that an empty mask is right, from `AbsenceEvidence`.
    """

    mask: LogisticModel
    absence: LogisticModel


def models_for(profile: str) -> QualityModels:
    """Return the models of a profile's family; one that none were fitted for has `FALLBACK`'s."""
    known = shipped()
    return known.get(family(profile), known[FALLBACK])


def family(profile: str) -> str:
    """Return whose models a profile is judged by: its tracker's name up to the first hyphen.

    The evidence is the tracker's: `sam-vit-b+compact` is judged as `compact` is.
    """
    return profile.rpartition("+")[2].split("-", maxsplit=1)[0]


def is_calibrated(profile: str) -> bool:
    """Whether models were fitted for a profile's tracker; if not, its qualities only order masks."""
    return family(profile) in shipped()


@cache
def shipped() -> dict[str, QualityModels]:
    """Return the package's models by family; its file is read once."""
    return load(COEFFICIENTS)


def load(path: Path) -> dict[str, QualityModels]:
    """Return the models in a file by family."""
    stored = json.loads(path.read_text(encoding="utf-8"))
    return {
        family: QualityModels(_model(models["mask"]), _model(models["absence"])) for family, models in stored.items()
    }


def _model(stored: Mapping[str, Any]) -> LogisticModel:
    lists = {name: tuple(stored[name]) for name in ("names", "log_odds", "mean", "scale", "weight")}
    return LogisticModel(**lists, bias=float(stored["bias"]))


def save(models: Mapping[str, QualityModels], path: Path) -> None:
    """Write coefficients, family by family; `FALLBACK` must be among them."""
    rounded = json.loads(
        json.dumps({family: asdict(each) for family, each in models.items()}),
        parse_float=lambda digits: round(float(digits), 5),
    )
    path.write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")


def fit(
    values: NDArray[np.float64],
    target: NDArray[np.float64],
    signs: Mapping[str, int],
    *,
    log_odds: Collection[str] = (),
    importance: Sequence[float] | NDArray[np.float64] | None = None,
    penalty: float = 0.01,
) -> LogisticModel:
    """Fit a model by projected Adam on the cross entropy with soft targets; the same data give the same model.

    Args:
        values: (N, names); NaN = unknown.
        target: (N,) in 0..1.
        signs: name -> the sign its weight may have: 1, -1, or 0 for both; in the order of the columns.
        log_odds: the measurements in 0..1 whose log odds count.
        importance: (N,) of the samples; None = all the same.
        penalty: of the squared weights.
    """
    spread = tuple(name for name in signs if name in log_odds)
    values = _on_scale(values, tuple(signs), spread)
    unknown = np.isnan(values)
    counts = np.maximum((~unknown).sum(0), 1)
    mean = np.where(unknown, 0, values).sum(0) / counts
    scale = np.sqrt(np.where(unknown, 0, (values - mean) ** 2).sum(0) / counts)
    scale[scale < 1e-6] = 1.0
    standard = np.column_stack([_standardised(values, mean, scale), np.ones(len(values))])
    share = np.ones(len(values)) if importance is None else np.asarray(importance, dtype=np.float64)
    share = share / share.sum()
    direction = np.array([*signs.values(), 0])
    ridge = np.array([penalty] * len(signs) + [0.0])

    weight: NDArray[np.float64]
    weight, first, second = (np.zeros(len(signs) + 1) for _ in range(3))
    for step in range(1, _FITTING_STEPS + 1):
        gradient = standard.T @ (share * (_sigmoid(standard @ weight) - target)) + 2 * ridge * weight
        first = _MOMENTUM * first + (1 - _MOMENTUM) * gradient
        second = _VARIANCE_DECAY * second + (1 - _VARIANCE_DECAY) * gradient**2
        unbiased = first / (1 - _MOMENTUM**step), second / (1 - _VARIANCE_DECAY**step)
        rate = _FITTING_RATE * (1 - step / (_FITTING_STEPS + 1))
        weight = weight - rate * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8)
        weight = np.where(direction * weight < 0, 0.0, weight)
    return LogisticModel(
        tuple(signs),
        spread,
        tuple(mean.tolist()),
        tuple(scale.tolist()),
        tuple(weight[:-1].tolist()),
        float(weight[-1]),
    )


def _on_scale(values: NDArray[np.float64], names: Sequence[str], log_odds: Collection[str]) -> NDArray[np.float64]:
    inner = np.clip(values, _SMALLEST_SHARE, 1 - _SMALLEST_SHARE)
    taken: NDArray[np.float64] = np.where([name in log_odds for name in names], np.log(inner / (1 - inner)), values)
    return taken


def _standardised(
    values: NDArray[np.float64], mean: NDArray[np.float64], scale: NDArray[np.float64]
) -> NDArray[np.float64]:
    standard: NDArray[np.float64] = np.clip((values - mean) / scale, -_FARTHEST, _FARTHEST)
    return np.nan_to_num(standard, nan=0.0)


def _sigmoid(logit: NDArray[np.float64]) -> NDArray[np.float64]:
    probability: NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(logit, -30, 30)))
    return probability
