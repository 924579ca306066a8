"""A headless Chromium that opens pages from disk: what it computes, what it logs, what it asks the network for."""

import json
import shutil
from functools import cached_property

import pytest


def missing():
    """Why there is no browser to test with, or None."""
    absent = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    if absent:
        return f"{' and '.join(absent)} not found: apt-get install chromium chromium-driver"
    try:
        import selenium  # noqa: F401
    except ImportError:
        return "selenium not found: pip install selenium"
    return None


class Browser:
    """The browser, started when it is first used."""

    def __init__(self, *flags):
        self.flags = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1400,1000", *flags)

    @cached_property
    def driver(self):
        from selenium import webdriver
        from selenium.webdriver.chrome.options import Options
        from selenium.webdriver.chrome.service import Service

        options = Options()
        options.binary_location = shutil.which("chromium")
        for flag in self.flags:
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        return webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))

    def open(self, path, seconds=120):
        """Open a report and wait until it is drawn; return the milliseconds that it took by its own clock."""
        from selenium.webdriver.support.ui import WebDriverWait

        self.driver.get("about:blank")
        self.logs("browser"), self.requests()  # of the page before
        self.driver.get(path.resolve().as_uri())
        ready = "return document.documentElement.dataset.ready || !document.getElementById('problem').hidden"
        WebDriverWait(self.driver, seconds).until(lambda driver: driver.execute_script(ready))
        return float(self.run("return document.documentElement.dataset.ready || NaN"))

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0]).innerText", selector)

    def find(self, selector):
        return self.driver.find_element("css selector", selector)

    def logs(self, kind="browser"):
        return [entry["message"] for entry in self.driver.get_log(kind)]

    def requests(self):
        """What was asked for since the last call: addresses, data: ones apart."""
        messages = [json.loads(entry)["message"] for entry in self.logs("performance")]
        sent = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        return [url for url in sent if not url.startswith(("data:", "about:"))]

    def close(self):
        if "driver" in self.__dict__:
            self.driver.quit()


def browser_or_skip(config):
    """A browser; without one the test is skipped, or fails where the run needs one (--need-browser)."""
    reason = missing()
    if reason and config.getoption("--need-browser"):
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    return Browser()
