"""The names of paths in metrics: as many as there are patterns, whatever clients ask."""

import os
from pathlib import Path

import pytest
from django.urls import get_resolver
from pytest_django import Settings

from mcp import lean_urls
from opscenter import counters, env
from opscenter.http_metrics import UNREAD, path_of
from proxy import metrics, urls


def test_it_shows_a_pattern_as_people_write_a_path() -> None:
    patterns = [*urls.urlpatterns, *lean_urls.urlpatterns]
    assert [path_of(str(one.pattern)) for one in patterns] == [
        "/v1/messages",
        "/v1/messages/stream",
        "/v1/messages/count_tokens",
        "/v1/models",
        "/v1/models/{model_id}",
        "/v1/health",
        "/v1/...",
        "/api/mcp/execute",
        "/api/mcp/poll",
        "/api/mcp/submit",
    ]
    assert path_of(UNREAD) == UNREAD
    assert path_of(get_resolver("proxy.urls").resolve("/v1/whatever").route) == "/v1/..."


def test_it_gives_no_more_series_than_it_promises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_series", {})
    for number in range(metrics.MOST_SERIES + 50):
        metrics._new("many", f"route-{number}")
    assert len(metrics._series) == metrics.MOST_SERIES + 1
    assert (metrics.OTHERS, metrics.OTHERS) in metrics._series


def test_it_gives_each_server_of_several_workers_an_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    said: list[Path] = []
    monkeypatch.setattr(env, "share_counters", said.append)
    settings.VAR_DIR = tmp_path
    with counters.shared(1):
        assert said == []
    with counters.shared(2), counters.shared(2):
        assert len(set(said)) == 2
        assert all(folder.is_dir() and not list(folder.iterdir()) for folder in said)
    assert not any(folder.exists() for folder in said)


def test_it_takes_away_what_a_killed_server_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    said: list[Path] = []
    monkeypatch.setattr(env, "share_counters", said.append)
    settings.VAR_DIR = tmp_path
    left = tmp_path / "metrics" / "server-killed"
    left.mkdir(parents=True)
    (left / "counter_1.db").touch()
    with counters.shared(2):
        assert left.exists()  # it may be one that is just about to start
        for folder in (left, *said):
            os.utime(folder, (0, 0))
        with counters.shared(2):
            assert said[0].exists() and not left.exists()
