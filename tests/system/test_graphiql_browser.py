"""GraphiQL in Chromium against a running server: a query, a subscription, and not one request to anyone else."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.server import running_server

CHROMIUM = Path("/usr/bin/chromium")
CHROMEDRIVER = Path("/usr/bin/chromedriver")
missing = [str(path) for path in (CHROMIUM, CHROMEDRIVER) if not path.exists()]

pytestmark = pytest.mark.skipif(bool(missing), reason=f"needs Debian's chromium and chromium-driver: no {missing}")
webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium, of the test extra")

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,900",
)
WAIT_SECONDS = 30.0
CREATE_SESSION = """mutation {
  createSession(input: {displayName: "one tile", coverage: {cells: ["85283083fffffff"]}}) { errors { message } }
}"""
T = TypeVar("T")


def wait_for(what: str, look: Callable[[], T | None]) -> T:
    """What `look` answers as soon as it is not None."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        if (found := look()) is not None:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {WAIT_SECONDS} s: {what}")


@pytest.fixture(scope="module")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_server(tmp_path_factory.mktemp("graphiql") / "data") as server:
        yield f"{server.url}/graphql"


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(CHROMEDRIVER)))
    try:
        yield driver
    finally:
        driver.quit()
        shutil.rmtree(tmp_path / "profile", ignore_errors=True)


class GraphiqlPage:
    """The page as its user has it: tabs, the run button, the headers editor and the result."""

    def __init__(self, browser: Any, url: str) -> None:
        self.browser = browser
        browser.get(url)
        wait_for("GraphiQL is drawn", lambda: self._all(".graphiql-execute-button") or None)

    def open_tab(self, title: str) -> None:
        next(tab for tab in self._all(".graphiql-tab-button") if tab.text == title).click()
        wait_for(
            f"the tab {title} is open", lambda: f" {title} " in self._editor_text(".graphiql-query-editor") or None
        )

    def write_headers(self, headers: dict[str, str]) -> None:
        next(button for button in self._all(".graphiql-editor-tools button") if button.text == "Headers").click()
        editor = ".graphiql-editor-tool .graphiql-editor:not(.hidden) .CodeMirror"
        script = "document.querySelector(arguments[0]).CodeMirror.setValue(arguments[1])"
        self.browser.execute_script(script, editor, json.dumps(headers))

    def run(self) -> None:
        self._all(".graphiql-execute-button")[0].click()

    def result(self) -> dict[str, Any] | None:
        """What the result pane shows, once it is a whole answer."""
        text = self._editor_text(".graphiql-response")
        return json.loads(text) if text.strip() else None

    def log(self) -> list[dict[str, Any]]:
        """The browser's own record of what this page sent and received since the last call."""
        messages = [json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance")]
        return [message for message in messages if message["method"].startswith("Network.")]

    def _all(self, selector: str) -> list[Any]:
        return list(self.browser.find_elements("css selector", selector))

    def _editor_text(self, selector: str) -> str:
        script = "return document.querySelector(arguments[0] + ' .CodeMirror')?.CodeMirror.getValue() ?? ''"
        return str(self.browser.execute_script(script, selector))


def post(url: str, query: str) -> dict[str, Any]:
    return dict(httpx.post(url, json={"query": query}, timeout=WAIT_SECONDS).json())


def requested_hosts(log: list[dict[str, Any]]) -> set[str | None]:
    """The hosts the page asked for anything; addresses within the browser (data:, chrome:) leave nothing."""
    addresses = [
        message["params"].get("url") or message["params"]["request"]["url"]
        for message in log
        if message["method"] in ("Network.requestWillBeSent", "Network.webSocketCreated")
    ]
    return {parts.hostname for parts in map(urlsplit, addresses) if parts.scheme not in ("data", "chrome")}


def sent_over_websocket(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    frames = [message["params"]["response"] for message in log if message["method"] == "Network.webSocketFrameSent"]
    return [json.loads(frame["payloadData"]) for frame in frames]


def test_a_query_and_a_subscription_run_and_nobody_else_is_asked(browser: Any, server_url: str) -> None:
    page = GraphiqlPage(browser, server_url)
    assert browser.title == "Session manager · GraphiQL"

    page.run()
    answer = wait_for("the query's result", page.result)
    assert answer["data"]["mainSession"]["displayName"] == "main"
    assert answer["data"]["mainSession"]["state"] == "ACTIVE"

    page.open_tab("FleetChanges")
    page.write_headers({"X-Purpose": "a header of the editor"})
    page.run()

    def fleet_of(tile_count: int) -> dict[str, Any] | None:
        answer = page.result()
        assert answer is None or "errors" not in answer, answer
        fleet = answer["data"]["fleetChanges"] if answer else None
        return fleet if fleet and fleet["tileCount"] == tile_count else None

    wait_for("the fleet as it is", lambda: fleet_of(tile_count=0))
    made = post(server_url, CREATE_SESSION)["data"]["createSession"]
    assert made["errors"] == []
    wait_for("the event of a fleet with one more tile", lambda: fleet_of(tile_count=1))

    log = page.log()
    init, *_ = sent_over_websocket(log)
    assert init == {"type": "connection_init", "payload": {"X-Purpose": "a header of the editor"}}
    assert requested_hosts(log) == {"127.0.0.1"}
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
