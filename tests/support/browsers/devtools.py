"""Chromium by its DevTools protocol: runs code in a page, and keeps what the page's policy and console report."""

import itertools
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

from tests.support.patience import PATIENCE
from tests.support.required_tools import need

_OPTIONS = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-first-run")


class ScriptedPage:
    """A page that tests run code in."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)
        #: Errors and violations of the policy that the browser reported until now.
        self.errors: list[str] = []

    def evaluate(self, code: str) -> Any:
        """The value of an expression or of its promise; a JavaScript exception fails the test."""
        parameters = {"expression": code, "awaitPromise": True, "returnByValue": True}
        done = self.call("Runtime.evaluate", **parameters)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def wait_for(self, code: str) -> Any:
        """The first value of the expression that is true."""
        deadline = time.monotonic() + PATIENCE
        while not (value := self.evaluate(code)):
            assert time.monotonic() < deadline, code
            time.sleep(0.1)
        return value

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a method of the protocol."""
        number = next(self._numbers)
        self._connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._connection.recv(timeout=PATIENCE))
            if message.get("method") == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
                self.errors.append(message["params"]["entry"]["text"])
            if message.get("id") == number:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result


@contextmanager
def scripted_page(address: str, profile: Path) -> Iterator[ScriptedPage]:
    """The page at an address, loaded."""
    chromium = need("chromium", "chromium-browser", "google-chrome", install="apt-get install chromium")
    command = [chromium, *_OPTIONS, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet) as browser:
        try:
            # As large as a long event stream.
            with connect(_socket_of(profile), max_size=None, proxy=None) as connection:
                page = ScriptedPage(connection)
                page.call("Log.enable")
                page.call("Page.navigate", url=address)
                page.wait_for(f"document.readyState === 'complete' && location.href === {json.dumps(address)}")
                yield page
        finally:
            browser.terminate()


def _socket_of(profile: Path) -> str:
    """The address at which the browser's page is driven."""
    deadline = time.monotonic() + PATIENCE
    port_file = profile / "DevToolsActivePort"
    while not (port_file.exists() and port_file.read_text(encoding="ascii").count("\n")):
        assert time.monotonic() < deadline, "the browser did not start"
        time.sleep(0.1)
    port = port_file.read_text(encoding="ascii").splitlines()[0]
    while True:
        targets = httpx.get(f"http://127.0.0.1:{port}/json/list", timeout=PATIENCE, trust_env=False).json()
        if pages := [target for target in targets if target["type"] == "page"]:
            return str(pages[0]["webSocketDebuggerUrl"])
        assert time.monotonic() < deadline, "the browser has no page"
        time.sleep(0.1)
