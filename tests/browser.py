"""A real browser without a screen: Chromium, driven over a pipe with its DevTools protocol.

Every request of the page goes to nowhere (there is no name server and no proxy behind it) and is noted first.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")


class Page:
    """One tab. ``complaints`` is what the console, the network or a broken rule had to say; ``requests`` all URLs."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.complaints: list[str] = []
        self.requests: list[str] = []
        browser.pages[self._session] = self
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            self._call(f"{domain}.enable")

    def open(self, path: Path, *, width: int, scheme: str = "light", media: str = "") -> None:
        """As a window of ``width`` CSS pixels shows it; ``scheme`` is light or dark, ``media`` may be print."""
        metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
        self._call("Emulation.setDeviceMetricsOverride", **metrics)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._call("Emulation.setEmulatedMedia", media=media, features=features)
        self._call("Page.navigate", url=path.absolute().as_uri())
        self._browser.wait_for(self._session, "Page.loadEventFired")

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; the page itself may be one that lets no script run."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def screenshot(self, path: Path, *, width: int, height: int) -> None:
        """Of the upper left corner of the page, as PNG."""
        corner = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        picture = self._call("Page.captureScreenshot", captureBeyondViewport=True, clip=corner)
        path.write_bytes(base64.b64decode(picture["data"]))

    def print_to(self, path: Path) -> None:
        """As PDF."""
        path.write_bytes(base64.b64decode(self._call("Page.printToPDF", printBackground=True)["data"]))

    def accessible(self) -> list[tuple[str, str]]:
        """Role and name of everything that a screen reader is told of."""
        nodes = self._call("Accessibility.getFullAXTree")["nodes"]
        shown = [node for node in nodes if not node["ignored"]]
        return [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in shown]

    def note(self, method: str, parameters: dict[str, Any]) -> None:
        match method:
            case "Network.requestWillBeSent":
                self.requests.append(parameters["request"]["url"])
            case "Log.entryAdded":
                self.complaints.append(parameters["entry"]["text"])
            case "Runtime.exceptionThrown" | "Runtime.consoleAPICalled" | "Page.javascriptDialogOpening":
                self.complaints.append(json.dumps(parameters))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._browser.call(method, self._session, **parameters)


class Browser:
    def __init__(self, to_browser: IO[bytes], from_browser: IO[bytes]) -> None:
        self._to_browser, self._from_browser = to_browser, from_browser
        self._numbers = itertools.count(1)
        self._buffer = b""
        self.pages: dict[str, Page] = {}

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters} | ({"sessionId": session} if session else {})
        self._to_browser.write(json.dumps(message).encode() + b"\0")
        self._to_browser.flush()
        while (answer := self._receive()).get("id") != number:
            pass
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    def wait_for(self, session: str, method: str) -> None:
        while True:
            message = self._receive()
            if (message.get("sessionId"), message.get("method")) == (session, method):
                return

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            read = os.read(self._from_browser.fileno(), 1 << 20)
            assert read, "the browser has ended"
            self._buffer += read
        content, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(content)
        page = self.pages.get(message.get("sessionId", ""))
        if page is not None and "method" in message:
            page.note(message["method"], message["params"])
        return message


def browser_program() -> str:
    """A missing browser is no reason to skip: ``scripts/install-system-packages tests`` installs one."""
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    assert found, f"none of {', '.join(PROGRAMS)} is installed; run scripts/install-system-packages tests"
    return found


@contextmanager
def browser_in(folder: Path) -> Iterator[Browser]:
    """A browser that keeps what it keeps in ``folder``."""
    their_input, our_output = os.pipe()
    our_input, their_output = os.pipe()
    command = [browser_program(), *_FLAGS, f"--user-data-dir={folder}", "--remote-debugging-pipe"]
    # The protocol's pipes are descriptors 3 and 4 of the browser. (A plain sh has no numbers of two digits.)
    shell = ["bash", "-c", f'exec "$@" 3<&{their_input} 4>&{their_output}', "bash", *command]
    environment = os.environ | {"HOME": str(folder)}
    with (
        (folder / "log").open("wb") as log,
        os.fdopen(our_output, "wb") as to_browser,
        os.fdopen(our_input, "rb") as from_browser,
        subprocess.Popen(
            shell, pass_fds=(their_input, their_output), stdout=log, stderr=log, env=environment
        ) as process,
    ):
        os.close(their_input)
        os.close(their_output)
        try:
            yield Browser(to_browser, from_browser)
        finally:
            with suppress(OSError):
                to_browser.close()  # it ends with its pipe
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser_in(tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.fixture
def page(browser: Browser) -> Page:
    return Page(browser)
