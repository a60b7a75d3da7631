"""What annotators do in Label Studio's own editor. Only its state is read by script."""

from __future__ import annotations

from typing import Any

from browser import LabelingPage
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

Result = dict[str, Any]
"""A result as the editor would save it now."""

_ACCEPT = "[data-testid=bottombar-accept-suggestions-button]"


class Editor(LabelingPage):
    """A task that somebody labels."""

    def auto_annotation(self, *, auto_accept: bool) -> None:
        """Switch Auto-Annotation on, and Auto-Accept Suggestions as wanted; press the smart button, for clicks."""
        self._switch("bottombar-auto-annotation-toggle", True)
        self._switch("bottombar-auto-accept-toggle", auto_accept)
        self.press_smart_button_until("key-point-tool")

    def press_smart_button_until(self, tool: str) -> None:
        """Press the smart button, which goes round the smart tools, until it is at one of them."""

        def is_active() -> bool:
            return bool(self.browser.find_elements(By.CSS_SELECTOR, f".lsf-tool_active[aria-label={tool}]"))

        for _ in range(_SMART_TOOLS):
            if not is_active():
                self._press(self._smart_button())
        self._wait(is_active)

    def choose(self, tag: str, label: str) -> None:
        """Choose a label of a tag."""
        names = self._script(_TAGS_WITH_LABELS)
        labels = self.browser.find_elements(By.CSS_SELECTOR, ".lsf-labels")[names.index(tag)]
        [found] = [
            each
            for each in labels.find_elements(By.CSS_SELECTOR, ".lsf-label")
            if each.find_element(By.CSS_SELECTOR, ".lsf-label__text").text == label
        ]
        if "lsf-label_selected" not in str(found.get_attribute("class")):
            self._press(found)

    def click(self, xy: tuple[float, float], *keys: str) -> None:
        """Click on the frame at (x, y) in its pixels, with keys held."""
        actions = ActionChains(self.browser).move_to_element_with_offset(self._stage(), *self._offset(xy))
        for key in keys:
            actions = actions.key_down(key)
        actions = actions.click()
        for key in keys:
            actions = actions.key_up(key)
        actions.perform()

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag from one place on the frame to another, in its pixels."""
        middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
        actions = ActionChains(self.browser).move_to_element_with_offset(self._stage(), *self._offset(start))
        actions = actions.click_and_hold()
        for each in (middle, end):
            actions = actions.move_to_element_with_offset(self._stage(), *self._offset(each))
        actions.release().perform()

    def prompt(self, label: str, xy: tuple[float, float], *keys: str, tag: str = "clicks") -> None:
        """Choose a label, click with it, and wait until the answer is there: to be accepted, or accepted."""
        asked = self.answers_seen()
        self.choose(tag, label)
        self.click(xy, *keys)
        self.wait_for_answer(asked)

    def answers_seen(self) -> int:
        """Return how many smart prompts of this visit were answered."""
        return int(self._script(_COUNT_ANSWERS))

    def wait_for_answer(self, asked: int) -> None:
        """Wait until the editor got one more answer than `asked`, and shows it."""
        self._wait(lambda: self.answers_seen() > asked and not self._script("return Htx.awaitingSuggestions"))

    def accept(self) -> None:
        """Press the green tick."""
        self._wait(lambda: bool(self.browser.find_elements(By.CSS_SELECTOR, _ACCEPT)))
        self._press(self.browser.find_element(By.CSS_SELECTOR, _ACCEPT))
        self._wait(lambda: self._script("return Htx.annotationStore.selected.suggestions.size") == 0)

    def select_in_list(self, region_id: str) -> None:
        """Click on a region in the list of regions."""
        self._press(self._listed(region_id))
        self._wait(lambda: self.selected() == region_id)

    def selected(self) -> str | None:
        """Return the id of the region that is selected."""
        found = self._script("return Htx.annotationStore.selected.highlightedNode?.cleanId")
        return None if found is None else str(found)

    def unselect(self) -> None:
        """Press Escape."""
        ActionChains(self.browser).send_keys(Keys.ESCAPE).perform()
        self._wait(lambda: self.selected() is None)

    def hang_on(self, region_id: str, choice: str, note: str) -> None:
        """Give a region a choice and a note."""
        self.select_in_list(region_id)
        [item] = [
            each for each in self.browser.find_elements(By.CSS_SELECTOR, ".lsf-choice__item") if choice in each.text
        ]
        self._press(item)
        field = self.browser.find_element(By.CSS_SELECTOR, "[data-testid=textarea-input]")
        self._press(field)
        field.send_keys(note, Keys.ENTER)
        self._wait(lambda: any(each["type"] == "textarea" for each in self.results_of(region_id)))
        self._press(self._listed(region_id))  # once more: no longer selected (Escape does nothing from a field)
        self._wait(lambda: self.selected() is None)

    def relate(self, region_id: str, to: str) -> None:
        """Draw a relation from one region to another, by the button and the list."""
        self.select_in_list(region_id)
        self._press(self.browser.find_element(By.CSS_SELECTOR, '[aria-label="Create Relation"]'))
        self._press(self._listed(to))
        self._wait(lambda: (region_id, to) in self.relations())

    def relations(self) -> list[tuple[str, str]]:
        """Return which regions are related."""
        return [(each["from_id"], each["to_id"]) for each in self.results() if each["type"] == "relation"]

    def results(self) -> list[Result]:
        """Return what the editor would save now."""
        return list(
            self._script("return JSON.parse(JSON.stringify(Htx.annotationStore.selected.serializeAnnotation()))")
        )

    def results_of(self, region_id: str) -> list[Result]:
        """Return what the editor would save of a region."""
        return [each for each in self.results() if each.get("id") == region_id]

    def masks(self, page: int | None = None) -> list[Result]:
        """Return the masks of the annotation, or of one page (from 1)."""
        drawn = [each for each in self.results() if each["type"] in ("brushlabels", "bitmasklabels", "polygonlabels")]
        return [each for each in drawn if page is None or each["item_index"] == page - 1]

    def is_alive(self) -> bool:
        """Whether the editor is there at all."""
        return bool(self.browser.find_elements(By.CSS_SELECTOR, ".konvajs-content"))

    def _listed(self, region_id: str) -> WebElement:
        place = self._script("return Htx.annotationStore.selected.regionStore.regions.map(each => each.cleanId)").index(
            region_id
        )
        return self.browser.find_elements(By.CSS_SELECTOR, ".lsf-outliner-item")[place]

    def _stage(self) -> WebElement:
        stage = self.browser.find_element(By.CSS_SELECTOR, ".konvajs-content")
        self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", stage)
        return stage

    def _offset(self, xy: tuple[float, float]) -> tuple[int, int]:
        size, (width, height) = self._stage().size, self._script(_FRAME_SIZE)
        return round((xy[0] / width - 0.5) * size["width"]), round((xy[1] / height - 0.5) * size["height"])

    def _smart_button(self) -> WebElement:
        # The single smart tools are inside of it, and shown while the mouse rests on it.
        self._wait(lambda: any(each.is_displayed() for each in self.browser.find_elements(By.CSS_SELECTOR, _SMART)))
        [button, *_] = [each for each in self.browser.find_elements(By.CSS_SELECTOR, _SMART) if each.is_displayed()]
        return button

    def _switch(self, test_id: str, on: bool) -> None:
        self._wait(lambda: bool(self.browser.find_elements(By.CSS_SELECTOR, f"[data-testid={test_id}]")))
        switch = self.browser.find_element(By.CSS_SELECTOR, f"[data-testid={test_id}]")
        if switch.is_selected() != on:
            self._press(switch)

    def _press(self, element: WebElement) -> None:
        self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        ActionChains(self.browser).move_to_element(element).click().perform()


_SMART = ".lsf-tool_smart"
_SMART_TOOLS = 3  # clicks, boxes by their corners, boxes by three points
_TAGS_WITH_LABELS = """
return [...Htx.annotationStore.selected.names.values()].filter(tag => tag.type.endsWith('labels')).map(tag => tag.name)
"""
_FRAME_SIZE = """
const shown = Htx.annotationStore.selected.objects.find(tag => tag.type === 'image');
return [shown.naturalWidth, shown.naturalHeight];
"""
_COUNT_ANSWERS = """
return performance.getEntriesByType('resource').filter(each => each.name.includes('interactive-annotating')).length
"""
