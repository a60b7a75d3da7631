"""Label Studio's page in a real Chromium, as far as the tests look at it."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait

from demo.label_studio import LabelStudio
from tam_backend.types import BoolMask

PATIENCE_S = 60
VISIBLE_CHANGE = 20
"""Of 255, in any colour channel."""
_ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",  # CI runs as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--window-size=1400,1000",
)


@contextmanager
def chromium() -> Iterator[WebDriver]:
    """Start a headless browser, end it on leaving."""
    binary = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    assert binary and driver, "Install Chromium and its driver: apt-get install chromium chromium-driver"
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in _ARGUMENTS:
        options.add_argument(argument)
    browser = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield browser
    finally:
        browser.quit()


class LabelingPage:
    """A task opened for labeling, after a login by the form."""

    def __init__(self, browser: WebDriver, label_studio: LabelStudio) -> None:
        self.browser = browser
        self._url = label_studio.url
        browser.get(f"{self._url}/user/login/")
        browser.find_element(By.NAME, "email").send_keys(label_studio.email)
        browser.find_element(By.NAME, "password").send_keys(label_studio.password)
        browser.find_element(By.CSS_SELECTOR, "form [type=submit]").click()
        self._wait(lambda: "/login" not in browser.current_url)

    def open(self, project: int, task: int) -> None:
        """Open a task and wait until its first page is drawn."""
        self.browser.get(f"{self._url}/projects/{project}/data?task={task}")
        self._wait(lambda: self._script("return !!(window.Htx && Htx.annotationStore && Htx.annotationStore.selected)"))
        self._wait_for_image()

    def go_to(self, page: int) -> None:
        """Turn to a page, counted from 1 as people see it, by the button below the bar."""
        while (shown := self.page()) != page:
            self.browser.find_element(
                By.CSS_SELECTOR, ".lsf-pagination__btn_arrow-right:not(.lsf-pagination__btn_arrow-right-double)"
            ).click()
            self._wait(lambda before=shown: self.page() == before + 1)
        self._wait_for_image()

    def page(self) -> int:
        """Return which page is shown, counted from 1."""
        text = self.browser.find_element(By.CSS_SELECTOR, ".lsf-pagination__page-indicator").text
        return int(text.split("of")[0])

    def regions(self) -> int:
        """Return how many regions the open annotation has, on all pages."""
        return int(self._script("return Htx.annotationStore.selected.regionStore.regions.length"))

    def select(self, region: int) -> str:
        """Select a region (0-based, as listed) and return what the page says then, all of it."""
        self._script(f"const s = Htx.annotationStore.selected; s.selectArea(s.regionStore.regions[{region}])")
        self._wait_until_still()
        return self.browser.find_element(By.TAG_NAME, "body").text

    def submit(self) -> None:
        """Press Submit."""
        [button] = [each for each in self.browser.find_elements(By.TAG_NAME, "button") if each.text == "Submit"]
        button.click()
        self._wait(lambda: not any(each.text == "Submit" for each in self.browser.find_elements(By.TAG_NAME, "button")))

    def picture(self) -> NDArray[np.int16]:
        """Return what is seen of the frame, with what is drawn on it: (h, w, 3), RGB."""
        stage = self.browser.find_element(By.CSS_SELECTOR, ".konvajs-content")
        return np.asarray(Image.open(io.BytesIO(stage.screenshot_as_png)).convert("RGB"), np.int16)

    def drawn(self, least_change: int = VISIBLE_CHANGE) -> BoolMask:
        """Return where the picture changes when the regions are hidden with the eye, by so much: (h, w) bool."""
        shown = self.picture()
        self._script("Htx.annotationStore.selected.regionStore.toggleVisibility()")
        self._wait_until_still()
        hidden = self.picture()
        self._script("Htx.annotationStore.selected.regionStore.toggleVisibility()")
        self._wait_until_still()
        return np.asarray(np.abs(shown - hidden).max(axis=2) > least_change)

    def _wait_for_image(self) -> None:
        self._wait(lambda: self._script(_IMAGE_IS_DRAWN))
        self._wait_until_still()

    def _wait_until_still(self) -> None:
        # Two equal pictures in a row: masks are decoded, and drawn, some time after the image is there.
        last = self.picture()

        def still() -> bool:
            nonlocal last
            before, last = last, self.picture()
            return before.shape == last.shape and not (before != last).any()

        self._wait(still)

    def _wait(self, condition: Callable[[], bool]) -> None:
        WebDriverWait(self.browser, PATIENCE_S, poll_frequency=0.3).until(lambda _: condition())

    def _script(self, script: str) -> Any:
        return self.browser.execute_script(script)


_IMAGE_IS_DRAWN = """
const stage = document.querySelector('.konvajs-content');
const images = [...document.querySelectorAll('img')].filter(image => image.naturalWidth >= 300);
return !!stage && stage.clientWidth > 0 && images.length > 0 && images.every(image => image.complete);
"""
