"""An outage in the log: its beginning, its end, and little in between."""

import logging

import pytest

from accounts.outages import SAID_EVERY_S, Outage

LINES = "connection failed:\n\tIs the server running?"


def test_it_says_each_change_once_and_in_between_little(caplog: pytest.LogCaptureFixture) -> None:
    now = 1000.0
    outage = Outage(logging.getLogger("test"), "nobody is there", clock=lambda: now)
    outage.over()
    assert caplog.messages == []
    for _ in range(500):
        outage.met(OSError(LINES))
    now += SAID_EVERY_S
    outage.met(OSError(LINES))
    outage.over()
    outage.over()
    outage.met(None)
    said = "connection failed: Is the server running?"
    assert caplog.messages == [
        f"nobody is there (met 1 times): {said}",
        f"nobody is there (met 501 times): {said}",
        "nobody is there: that is over (met 501 times)",
        "nobody is there (met 1 times): None",
    ]
