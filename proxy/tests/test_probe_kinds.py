"""Whether a server is of the kind that its upstream's row says."""

import json
from collections.abc import Callable

import pytest

from proxy import probe
from proxy.tests.listing import Listing, listing
from proxy.tests.test_probe import SECRET, config

__all__ = ["listing"]


def as_openai(*models: str) -> bytes:
    entries = [{"id": model, "object": "model"} for model in models]
    return json.dumps({"object": "list", "data": entries}).encode()


def as_anthropic(*models: str) -> bytes:
    entries = [{"id": model, "type": "model"} for model in models]
    return json.dumps({"data": entries, "has_more": False}).encode()


@pytest.mark.parametrize(
    ("kind", "lists", "serves", "asks"),
    [
        ("compatible", as_openai, "/v1/chat/completions", "is its kind openai?"),
        ("anthropic", as_openai, "/v1/chat/completions", "is its kind openai?"),
        ("openai", as_anthropic, "/v1/messages", "is its kind anthropic or compatible?"),
    ],
)
async def test_it_tells_a_wrong_kind(
    listing: Listing, kind: str, lists: Callable[..., bytes], serves: str, asks: str
) -> None:
    listing.body, listing.serves = lists("m"), [serves]
    finding = await probe.tested(config(listing.url, kind=kind))
    assert not finding.ok
    assert asks in finding.text


@pytest.mark.parametrize("lists", [as_openai, as_anthropic])
async def test_it_takes_either_list_of_a_server_that_has_the_messages_api(
    listing: Listing, lists: Callable[..., bytes]
) -> None:
    listing.body, listing.serves = lists("m"), ["/v1/messages"]
    finding = await probe.tested(config(listing.url, kind="compatible"))
    assert (finding.ok, finding.models) == (True, ("m",))


async def test_it_tells_a_server_that_has_neither_list_nor_api(listing: Listing) -> None:
    listing.status, listing.serves = 404, []
    finding = await probe.tested(config(listing.url))
    assert not finding.ok
    assert "It has no /v1/messages (404)" in finding.text


async def test_a_list_that_is_open_to_all_says_nothing_of_the_credential(listing: Listing) -> None:
    listing.body, listing.refusal = as_openai("m"), (401, b"{}")
    finding = await probe.tested(config(listing.url, kind="openai", credential=SECRET))
    assert (finding.ok, finding.credential) == (False, "refused")
