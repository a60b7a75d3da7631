"""A stored session's page in a real browser: its own policy lets all of it through, in light and in dark."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from zipfile import ZipFile

import pytest
from browser import chromium
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait

sys.path.append(str(Path(__file__).parents[1] / "server"))

from fake_backend import FakeBackend, make_settings
from live_servers import werkzeug_server
from stored_task import DOUBTFUL, VIDEO, stored_task

from tam_backend.server.app import create_app

pytestmark = pytest.mark.e2e
SCREENSHOTS = Path(".demo/screenshots")


@pytest.fixture
def browser() -> Iterator[WebDriver]:
    with chromium() as running:
        yield running


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    backend = FakeBackend(tmp_path / "data")
    backend.store = stored_task(tmp_path)
    backend.on_frame = lambda session, frame: VIDEO[frame]
    with werkzeug_server(create_app(make_settings(tmp_path / "data"), backend)) as port:  # type: ignore[arg-type]
        yield f"http://127.0.0.1:{port}"


def wait_for_pictures(browser: WebDriver) -> int:
    script = "return [...document.querySelectorAll('img')].filter(image => image.naturalWidth > 0).length"
    count = len(browser.find_elements(By.TAG_NAME, "img"))
    WebDriverWait(browser, 30, poll_frequency=0.2).until(lambda _: browser.execute_script(script) == count)
    return count


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_task_page_is_complete_and_breaks_no_policy(browser: WebDriver, address: str, scheme: str) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    browser.get(f"{address}/")
    browser.find_element(By.LINK_TEXT, "12").click()
    assert browser.current_url == f"{address}/tasks/7/12"
    assert wait_for_pictures(browser) >= 24
    assert browser.get_log("browser") == [], "nothing was refused or failed"
    page = browser.find_element(By.TAG_NAME, "body")
    assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    dark = browser.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
    assert dark == (scheme == "dark"), "the page has its own style"
    assert "Where to look next" in page.text
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    browser.save_screenshot(str(SCREENSHOTS / f"task-page-{scheme}.png"))


def test_suggested_frame_opens_at_full_size(browser: WebDriver, address: str) -> None:
    browser.get(f"{address}/tasks/7/12")
    wait_for_pictures(browser)
    browser.find_element(By.CSS_SELECTOR, "figure.suggested a").click()
    frame = int(urlsplit(browser.current_url).path.rpartition("/")[2].removesuffix(".jpg"))
    assert frame in DOUBTFUL
    image = browser.find_element(By.TAG_NAME, "img")
    assert (image.get_property("naturalWidth"), image.get_property("naturalHeight")) == (VIDEO.width, VIDEO.height)


def test_chart_leads_to_the_frame_below_the_pointer(browser: WebDriver, address: str) -> None:
    browser.get(f"{address}/tasks/7/12")
    wait_for_pictures(browser)
    hits = browser.find_elements(By.CSS_SELECTOR, "svg.plot rect.hit")
    assert len(hits) == len(VIDEO)
    hits[20].click()
    assert urlsplit(browser.current_url).path == "/tasks/7/12/frames/20.jpg"


def test_masks_are_downloaded_from_the_page(browser: WebDriver, address: str, tmp_path: Path) -> None:
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    browser.get(f"{address}/tasks/7/12")
    browser.find_element(By.LINK_TEXT, "COCO").click()
    arrived = tmp_path / "task-12-coco.zip"
    WebDriverWait(browser, 30, poll_frequency=0.2).until(lambda _: arrived.exists())
    with ZipFile(arrived) as zipped:
        assert "task-12-coco/annotations/instances_default.json" in zipped.namelist()
    assert browser.get_log("browser") == []
