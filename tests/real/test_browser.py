"""The browser of the tests notices what it is there to notice."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.real.browser import LOOKS, Chromium

pytestmark = pytest.mark.real

LOOK_S = 0.02  # how soon the server sees that it is to stop
PAGE = """<!doctype html><html lang="en"><title>A page</title><link rel="icon" href="data:,">
<main><h1>A page</h1>{}</main></html>"""
DIALS = """document.title = 'Dialing';
new WebSocket('ws://elsewhere.example/').onerror = () => { document.title = 'Over' }"""
FAULTY = {
    "/elsewhere": ('<img alt="" src="http://elsewhere.example/i.png">', "asked another host"),
    "/socket": (f"<script>{DIALS}</script>", "asked another host: ws://elsewhere"),
    "/console": ("<script>console.error('so sorry')</script>", "so sorry"),
    "/thrown": ("<script>setTimeout(nothing.there)</script>", "nothing is not defined"),
    "/missing": ('<img alt="" src="/is-not-there">', "404"),
}
GRAVE = {
    "/contrast": '<p style="color:#bbb;background:#fff">Hardly to be read</p>',
    "/label": '<input name="nameless">',
    "/image": '<img src="data:,">',
}
OTHERS = {"/": "Fine.", "/wide": '<p style="width:2000px">A long line</p>'}
BODIES = {path: body for path, (body, _) in FAULTY.items()} | GRAVE | OTHERS


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = PAGE.format(BODIES[self.path]).encode() if self.path in BODIES else b""
        self.send_response(200 if body else 404)
        self.send_header("content-type", "text/html; charset=utf-8")
        self.send_header("content-security-policy", "script-src 'unsafe-inline'")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(LOOK_S,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_it_finds_nothing_where_nothing_is(chromium: Chromium, site: str) -> None:
    for look in LOOKS:
        with chromium.page(look) as page:
            page.open(site)
            assert (page.axe(), page.is_wider_than_its_window()) == ([], False)


@pytest.mark.parametrize(("path", "said"), [(path, said) for path, (_, said) in FAULTY.items()])
def test_a_fault_fails_the_test(chromium: Chromium, site: str, path: str, said: str) -> None:
    with pytest.raises(AssertionError, match=said), chromium.page() as page:
        page.open(f"{site}{path}")
        page.do("wait_for_function", "document.title !== 'Dialing'")


@pytest.mark.parametrize("path", GRAVE)
def test_it_finds_what_keeps_people_out(chromium: Chromium, site: str, path: str) -> None:
    with chromium.page() as page:
        page.open(f"{site}{path}")
        assert len(page.axe()) == 1


def test_it_sees_that_a_page_is_too_wide(chromium: Chromium, site: str) -> None:
    with chromium.page() as page:
        page.open(f"{site}/wide")
        assert page.is_wider_than_its_window()
