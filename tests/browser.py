"""Pages in headless Chromium: errors on the console, images that do not load, width, and accessibility."""

import base64
import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

AXE = Path(__file__).parents[1] / ".venv/axe/node_modules/axe-core/axe.min.js"  # installed by `make browser`
FLAGS = "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
FLAGS += "--disable-component-update --disable-sync --hide-scrollbars"
HEIGHT = 900  # of the window, in pixels


@contextlib.contextmanager
def chromium(folder: Path) -> Iterator:
    """Yield a Selenium driver of Chromium whose profile is in `folder`; skip the test if anything is missing."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (requirements-dev.txt)")
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("chromium or chromedriver is not installed (`make browser` says how)")
    if not AXE.is_file():
        pytest.skip(f"{AXE} is absent (`make browser` installs it)")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in (*FLAGS.split(), f"--user-data-dir={folder}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        yield found
    finally:
        found.quit()


def open_page(driver, path: Path, *, width: int) -> None:
    """Open a file in a window of `width` pixels."""
    size = {"width": width, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    driver.get(path.resolve().as_uri())


def faults(driver) -> list[str]:
    """Return what is wrong with the open page: console messages, broken images, width, violations of axe-core."""
    found = [f"console: {entry['message']}" for entry in driver.get_log("browser")]
    found += driver.execute_script(
        "return [...document.images].filter(image => !(image.complete && image.naturalWidth))"
        ".map(image => 'image does not load: ' + image.alt)"
    )
    width, room = driver.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
    if width > room:
        found.append(f"the page is {width} pixels wide in a window of {room}")
    driver.execute_script(AXE.read_text())
    result = driver.execute_async_script("const done = arguments[0]; axe.run().then(done, error => done({error}))")
    for violation in result["violations"]:
        nodes = "; ".join(node["html"][:200] for node in violation["nodes"][:3])
        found.append(f"axe: {violation['id']}: {violation['help']}: {nodes}")
    return found


def screenshot(driver, path: Path) -> None:
    """Save the whole page as PNG, at its present width."""
    shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
    path.write_bytes(base64.b64decode(shot["data"]))


def print_to_pdf(driver, path: Path) -> None:
    """Print the page on A4."""
    settings = {"preferCSSPageSize": True, "printBackground": True}
    path.write_bytes(base64.b64decode(driver.execute_cdp_cmd("Page.printToPDF", settings)["data"]))
