"""Masks and boxes of a dataset -> the results (JSON) of a project's own labeling config."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from tam_backend.dataset_in.read_videos import ReadBox, ReadMask
from tam_backend.errors import LabelConfigError
from tam_backend.labelstudio.config import Control, ControlKind, LabelingConfig, Media, MediaKind
from tam_backend.labelstudio.polygons import TOLERANCE_PX, encode_polygon
from tam_backend.labelstudio.results import box_results, mask_results

Boxes = Literal["regions", "prompts", "none"]
"""As what boxes without a mask arrive: regions of an ordinary tag, prompts of a smart one, or not at all."""

_GIVE_CONFIG = "Give the project a config with a tag for masks on pages: tam-backend import --config --project NUMBER."


class ImportedMasks:
    """Which tag and label of a project each class of a dataset gets.

    Args:
        config: the project's.
        label_of: class -> label, where that is not the class itself; "" as a label leaves the class out, "" as a class
            stands for masks without one. Where the config has one label only, those get it.
        boxes: what becomes of boxes; they go to the config's own rectangle tags.
        polygon_tolerance_px: see `encode_polygon`, where masks are polygons.

    Raises:
        LabelConfigError: the config has no tag for masks on the pages of `$frames`.
    """

    def __init__(
        self,
        config: LabelingConfig,
        label_of: Mapping[str, str],
        boxes: Boxes = "regions",
        polygon_tolerance_px: float = TOLERANCE_PX,
    ) -> None:
        pages = [media for media in config.media if media.kind is MediaKind.FRAMES and media.value(_PAGES) == ["page"]]
        found = next(((media, tags) for media in pages if (tags := config.mask_outputs(media))), None)
        if found is None:
            raise LabelConfigError("The project has no tag for masks on the pages of $frames.", _GIVE_CONFIG)
        self._media: Media = found[0]
        self._tags: tuple[Control, ...] = found[1]
        self._boxes: Boxes = boxes
        self._tolerance_px = polygon_tolerance_px
        self._box_tags = tuple(
            tag
            for tag in config.controls_of(self._media)
            if tag.shape == "rectangle" and bool(tag.smart) == (boxes == "prompts")
        )
        self._label_of = dict(label_of)
        labels = {label for tag in self._tags for label in tag.labels}
        if len(labels) == 1:
            self._label_of.setdefault("", labels.pop())

    def check(self, classes: Iterable[str]) -> None:
        """See that all classes have a label or are left out.

        Raises:
            LabelConfigError: some have none; it names them.
        """
        without = [each for each in classes if not self.is_left_out(each) and self._target(each) is None]
        if without:
            named = ", ".join(f'"{each}"' if each else "masks without a class" for each in without)
            labels = ", ".join(dict.fromkeys(label for tag in self._tags for label in tag.labels))
            raise LabelConfigError(
                f"The project has no label for {named}; it has {labels or 'none'}.",
                f"Say which one is meant: --class {without[0]}=LABEL, or leave it out with --class CLASS=.",
            )

    def is_left_out(self, name: str) -> bool:
        """Whether people left a class out."""
        return self._label_of.get(name) == "" and name in self._label_of

    def results(self, mask: ReadMask, page: int, *, settled: bool) -> tuple[dict[str, Any], ...]:
        """Return a mask as results.

        Args:
            mask: of a class that `check` has seen and that is not left out.
            page: of its task, from 0.
            settled: a human's region, which is tracked from; else a prediction, as a tracked mask is one.
        """
        target = self._target(mask.label)
        if target is None:
            raise LabelConfigError(f'The project has no label for "{mask.label}".', "Say which one: --class.")
        control, label = target
        pixels = mask.mask.array
        is_polygon = control.kind is ControlKind.POLYGON
        made = mask_results(
            control,
            self._media,
            key=f"in{mask.object_id}",
            frame=page,
            labels=(label,),
            mask=pixels,
            quality=1.0 if mask.quality is None else mask.quality,
            source="propagated",
            polygon=encode_polygon(pixels, self._tolerance_px)[0] if is_polygon else None,
        )
        return tuple(map(_as_drawn, made)) if settled else made

    def takes(self, box: ReadBox) -> bool:
        """Whether a box has a tag to go to."""
        return self._boxes != "none" and self._target(box.label, self._box_tags) is not None

    def box_results(self, box: ReadBox, page: int, *, settled: bool) -> tuple[dict[str, Any], ...]:
        """Return a box that is taken as results; see `results`."""
        target = self._target(box.label, self._box_tags)
        if target is None:
            raise LabelConfigError(f'No tag for boxes has a label for "{box.label}".', "Say which one: --class.")
        control, label = target
        made = box_results(
            control,
            self._media,
            key=f"in{box.object_id}",
            frame=page,
            labels=(label,),
            box_xyxy=box.box_xyxy,
            size_hw=box.size_hw,
            quality=box.quality,
            is_prompt=self._boxes == "prompts",
        )
        return tuple({**_as_drawn(each), "meta": each["meta"]} for each in made) if settled else made

    def _target(self, name: str, tags: tuple[Control, ...] | None = None) -> tuple[Control, str] | None:
        label = self._label_of.get(name, name)
        if not label:
            return None
        written = ((tag, tag.written(label, label)) for tag in (self._tags if tags is None else tags))
        return next(((tag, each) for tag, each in written if each is not None), None)


def prediction_of(version: str, predictions: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the one of a task's predictions that is of this model version; None where there is none."""
    return next((each for each in predictions if each.get("model_version") == version), None)


def ground_truth(annotations: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the one of a task's annotations that is its ground truth; None where there is none."""
    return next((each for each in annotations if each.get("ground_truth") is True), None)


_PAGES = {"frames": ["page"]}


def _as_drawn(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result as the editor writes one that a human drew."""
    return {**{key: value for key, value in result.items() if key not in ("score", "meta")}, "origin": "manual"}
