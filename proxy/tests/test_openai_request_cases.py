"""Requests in the language of Chat Completions, case by case."""

import json

import pytest

from proxy.adapters.openai.request import translated
from proxy.adapters.openai.translation import Profile
from proxy.tests.case_files import Case, cases
from proxy.wire.body import BodyError
from proxy.wire.signature import Signer

CASES = cases("openai/requests")


def profile_of(case: Case) -> Profile:
    given = dict(case.profile or {})
    conceded = frozenset(given.pop("conceded", ()))
    signer = Signer.of("a secret")
    return Profile(model="target-model", signer=signer, conceded=conceded, **given)


@pytest.mark.parametrize("case", [it for it in CASES if it.error is None], ids=lambda it: it.name)
def test_it_translates_the_request(case: Case) -> None:
    before = json.dumps(case.body)
    assert translated(case.body, profile_of(case)).body == case.sent, case.why
    assert json.dumps(case.body) == before, "the body of the client was changed"


@pytest.mark.parametrize("case", [it for it in CASES if it.error], ids=lambda it: it.name)
def test_it_refuses_the_request(case: Case) -> None:
    with pytest.raises(BodyError) as refused:
        translated(case.body, profile_of(case))
    told = {"status": 400, "type": "invalid_request_error", "message": str(refused.value)}
    assert told == case.error, case.why
