"""Chromium at the far end of a pipe: a line on stdin names what to do, a line on stdout its result.

It runs where the peer `playwright` is installed, and knows nothing of ours. Playwright's own loop
is in this process, so that tests keep theirs, and the ORM with it.
"""

import json
import sys
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Error, Page, Request, WebSocket, sync_playwright

HERE = "127.0.0.1"
NO_HOST = {"about", "blob", "data"}  # addresses that lead nowhere
# Whatever a page asks for, nothing but loopback has an address.
ALONE = ["--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", "--disable-gpu"]
STEP_MS = 60_000  # a click takes some milliseconds; a loaded machine needs more
PLAIN = (str, int, float, bool, list, dict)

pages: dict[int, Page] = {}
faults: dict[int, list[str]] = {}


def opened(browser: Browser, number: int, **look: Any) -> None:
    """A page of a browser that knows nothing yet. Its faults are collected from now on."""
    context = browser.new_context(service_workers="block", reduced_motion="reduce", **look)
    context.set_default_timeout(STEP_MS)
    found: list[str] = []
    context.on("request", lambda request: strange(request.url, found))
    context.on("requestfailed", lambda request: failed(request, found))
    context.on("console", lambda said: heard(said.type, said.text, found))
    context.on("weberror", lambda error: found.append(f"error: {error.error}"))
    pages[number], faults[number] = context.new_page(), found
    pages[number].on("websocket", lambda socket: dialed(socket, found))


def strange(url: str, found: list[str]) -> None:
    parts = urlsplit(url)
    if parts.scheme not in NO_HOST and parts.hostname != HERE:
        found.append(f"asked another host: {url}")


def dialed(socket: WebSocket, found: list[str]) -> None:
    strange(socket.url, found)


def failed(request: Request, found: list[str]) -> None:
    # Whoever leaves a page gives up what it still asks for.
    if request.failure != "net::ERR_ABORTED":
        found.append(f"no answer: {request.url}: {request.failure}")


def heard(kind: str, text: str, found: list[str]) -> None:
    if kind in {"error", "warning"}:
        found.append(f"console {kind}: {text}")


def called(page: Page, name: str, values: list[Any], named: dict[str, Any]) -> Any:
    """Any method or property of the page by its name. What has no JSON form is left out."""
    value = getattr(page, name)
    result = value(*values, **named) if callable(value) else value
    return result if isinstance(result, PLAIN) else None


def left(page: Page, selector: str, key: str) -> None:
    """Press the key where it leads to another page, and wait until that is there."""
    with page.expect_navigation():
        page.press(selector, key)


def closed(number: int) -> list[str]:
    """Close the page, and tell its faults."""
    pages.pop(number).context.close()
    return faults.pop(number)


def answer(browser: Browser, asked: dict[str, Any]) -> Any:
    number, name = asked["page"], asked["do"]
    if name == "open":
        return opened(browser, number, **asked["named"])
    if name == "close":
        return closed(number)
    if name == "leave":
        return left(pages[number], *asked["values"])
    return called(pages[number], name, asked["values"], asked["named"])


def main(program: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ALONE)
        for line in sys.stdin:
            try:
                said = {"result": answer(browser, json.loads(line))}
            except Error as error:
                said = {"error": str(error)}
            sys.stdout.write(json.dumps(said) + "\n")
            sys.stdout.flush()
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1])
