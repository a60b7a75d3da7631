"""What annotators tell by the label of a prompt, beside what it is: "Propagate", "New Car", "Same Car".

Label Studio's editor has no way to say which object a click speaks of; but a labeling config may give prompts any
labels. A prompt labelled "New Car" begins another Car, whatever it lies in; one labelled "Same Car" continues the Car
that is nearest. Where the page has one label for masks, "New object" and "Same object" do as well.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum

ANY_OBJECT = "object"


class Gesture(Enum):
    """Which object a prompt speaks of."""

    GUESSED = "by where it lies"
    NEW = "new"
    SAME = "same"


def read_gesture(label: str | None, mask_labels: Collection[str]) -> tuple[Gesture, str | None]:
    """Return what a prompt's label says, and the label of the object that it speaks of.

    Args:
        label: of a prompt.
        mask_labels: what the page's masks can be labelled. A label that is one of them is no gesture.

    >>> read_gesture("New Car", ["Car", "Bus"])
    (<Gesture.NEW: 'new'>, 'Car')
    """
    if label is None or label in mask_labels:
        return Gesture.GUESSED, label
    word, _, rest = label.partition(" ")
    gesture = {Gesture.NEW.value: Gesture.NEW, Gesture.SAME.value: Gesture.SAME}.get(word.casefold())
    if gesture is None:
        return Gesture.GUESSED, label
    rest = rest.strip().casefold()
    named = [each for each in mask_labels if each.casefold() == rest]
    if not named and rest == ANY_OBJECT and len(mask_labels) == 1:
        named = list(mask_labels)
    return (gesture, named[0]) if named else (Gesture.GUESSED, label)
