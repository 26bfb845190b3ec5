"""A browser with the explorer in it, for the tests that need one."""

import os
import shutil

import pytest
from explorer_page import ExplorerPage

from npseg.teaching import explorer

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def explorer_browser(tmp_path_factory):
    """The explorer, opened from a file; the whole session shares it."""
    webdriver = pytest.importorskip(
        "selenium.webdriver", reason="Selenium is not installed: pip install -e '.[browser]'"
    )
    chromium = next(filter(None, map(shutil.which, CHROMIUM)), None)
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no browser: install Debian's packages chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # which Chromium asks of root
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    path = tmp_path_factory.mktemp("explorer") / "explorer.html"
    explorer.write(path)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield ExplorerPage(browser, path.as_uri())
    browser.quit()


@pytest.fixture
def page(explorer_browser):
    """The explorer as it opens, light, on a projector; nothing may have gone wrong in it when the test is over."""
    explorer_browser.resize(1280, 720)
    explorer_browser.open()
    yield explorer_browser
    assert explorer_browser.complaints() == []
