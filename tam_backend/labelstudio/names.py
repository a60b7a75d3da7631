"""What tags and labels are called in results, where that is not what the page calls them."""

from __future__ import annotations

from dataclasses import dataclass

_MOST_PAGE_DIGITS = 6


@dataclass(frozen=True)
class LabelSource:
    """Where the labels of a region stand in results: in the drawing tag itself, or in a <Labels> tag beside it.

    Args:
        name: of the tag.
        labels: as they stand in results (a Label's alias where it has one, its value otherwise).
        shown: the same labels as the page shows them.
        is_open: the task's data bring labels of their own (`value="$labels"`): any label may be one of them.
    """

    name: str
    labels: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    is_open: bool = False

    def written(self, label: str, shown: str | None = None) -> str | None:
        """Return what stands in results for a label of another tag, which shows it as `shown`; None = it has none."""
        if label in self.labels:
            return label
        if shown is not None and shown in self.shown:
            return self.labels[self.shown.index(shown)]
        return label if self.is_open else None


@dataclass(frozen=True)
class PageName:
    """The name of a tag, or of one that a <Repeater> makes for every page: then `flag` in it stands for the page.

    >>> PageName("mask_{{idx}}", "{{idx}}").on(3)
    'mask_3'
    >>> PageName("mask_{{idx}}", "{{idx}}").page("mask_3"), PageName("mask").page("mask"), PageName("mask").page("m")
    (3, 0, None)
    """

    text: str
    flag: str = ""

    def on(self, page: int) -> str:
        """Return the name on a page (from 0)."""
        return self.text.replace(self.flag, str(page)) if self.flag else self.text

    def page(self, name: str) -> int | None:
        """Return the page whose tag has this name; 0 for the name of a single tag, None for another name."""
        if not self.flag:
            return 0 if name == self.text else None
        before, _, after = self.text.partition(self.flag)
        digits = name.removeprefix(before).removesuffix(after)
        is_page = digits.isascii() and digits.isdecimal() and len(digits) <= _MOST_PAGE_DIGITS
        return int(digits) if is_page and self.on(int(digits)) == name else None
