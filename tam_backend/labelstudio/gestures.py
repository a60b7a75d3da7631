"""What annotators tell by the label of a prompt, beside what it is: "Propagate", "New Car", "Same Car".

Label Studio's editor has no way to say which object a click speaks of; but a labeling config may give prompts any
labels. A prompt labelled "New Car" begins another Car, whatever it lies in; one labelled "Same Car" continues the Car
that is nearest. Where the page has one label for masks, "New object" and "Same object" do as well.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum

from tam_backend.labelstudio.config import Control, LabelingConfig, Media

ANY_OBJECT = "object"


class Gesture(Enum):
    """Which object a prompt speaks of."""

    GUESSED = "by where it lies"
    NEW = "new"
    SAME = "same"


def read_gesture(label: str | None, known_labels: Collection[str]) -> tuple[Gesture, str | None]:
    """Return what a prompt's label says, and the label of the object that it speaks of.

    Args:
        label: of a prompt.
        known_labels: of `object_labels`. A label that is one of them is no gesture.

    >>> read_gesture("New Car", ["Car", "Bus"])
    (<Gesture.NEW: 'new'>, 'Car')
    """
    if label is None or label in known_labels:
        return Gesture.GUESSED, label
    word, _, rest = label.partition(" ")
    gesture = {Gesture.NEW.value: Gesture.NEW, Gesture.SAME.value: Gesture.SAME}.get(word.casefold())
    if gesture is None:
        return Gesture.GUESSED, label
    rest = rest.strip().casefold()
    named = [each for each in known_labels if each.casefold() == rest]
    if not named and rest == ANY_OBJECT and len(known_labels) == 1:
        named = list(known_labels)
    return (gesture, named[0]) if named else (Gesture.GUESSED, label)


def object_labels(config: LabelingConfig, media: Media) -> tuple[str, ...]:
    """Return the labels that objects on this media can have, as the page shows them.

    Those are the labels of its tags for masks; where such a tag takes any label, those that it can be prompted with.
    """
    masks = config.mask_outputs(media)
    found = _shown(masks)
    if any(not mask.sources for mask in masks):
        said = _shown(tuple(control for control in config.controls_of(media) if control not in masks))
        found += tuple(label for label in said if read_gesture(label, _without(label, said))[0] is Gesture.GUESSED)
    return tuple(dict.fromkeys(found))


def _shown(controls: tuple[Control, ...]) -> tuple[str, ...]:
    shown = (control.shows(label) for control in controls for label in control.labels)
    return tuple(dict.fromkeys(label for label in shown if label is not None))


def _without(label: str, labels: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(each for each in labels if each != label)
