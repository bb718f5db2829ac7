"""A page that fails says so in words."""

import json
from typing import Any

import pytest
from django.core.handlers.exception import response_for_exception
from django.db import OperationalError
from django.test import Client, RequestFactory

SECRET = "postgres://opscenter:hunter2@db/opscenter"


def answered(path: str, error: Exception) -> Any:
    try:
        raise error
    except Exception as raised:  # as Django's handler has it
        return response_for_exception(RequestFactory().get(path), raised)


@pytest.mark.parametrize("path", ["/oidc/callback/", "/portal/", "/admin/"])
def test_a_person_hears_that_the_database_is_away(path: str) -> None:
    answer = answered(path, OperationalError(SECRET))
    text = answer.content.decode()
    assert (answer.status_code, answer["retry-after"]) == (503, "5")
    assert "<h1>" in text and "database does not answer" in text and "hunter2" not in text


@pytest.mark.parametrize("path", ["/oidc/backchannel-logout/", "/api/v1/usage"])
def test_a_program_hears_it_in_json(path: str) -> None:
    answer = answered(path, OperationalError(SECRET))
    assert (answer.status_code, answer["retry-after"]) == (503, "5")
    assert "database does not answer" in json.loads(answer.content)["detail"]


def test_a_defect_is_a_500() -> None:
    answer = answered("/portal/", ValueError(SECRET))
    assert answer.status_code == 500 and "retry-after" not in answer
    assert "hunter2" not in answer.content.decode()


def test_the_log_has_a_traceback_of_a_defect_and_none_of_an_outage(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answered("/portal/", OperationalError(SECRET))
    answered("/admin/", ValueError(SECRET))
    outage, defect = caplog.records
    assert outage.exc_info is None and "the database does not answer" in outage.getMessage()
    assert defect.exc_info


def test_it_is_what_the_site_answers_with(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise OperationalError(SECRET)

    # A real database that goes away in the middle would take the other tests' with it.
    monkeypatch.setattr("opscenter.connector_archive._packed", away)
    client = Client(raise_request_exception=False)
    answer = client.get("/connector.tar.gz")
    assert answer.status_code == 503
