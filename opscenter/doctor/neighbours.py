"""Redis, Keycloak, Lago and the upstreams, each asked itself."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from uuid import uuid4

import httpx
import redis
from django.conf import settings
from django.db import Error

from accounts import trust
from billing import lago
from opscenter.doctor.finding import Check, Finding, fails, good, skipped, warns
from proxy import probe, table
from proxy.models import Upstream
from proxy.routing import UpstreamConfig

ASK_S = 3.0
SKEW_S = 30.0  # tokens are taken within their leeway; more of it and good ones are refused
SHOWN = 200  # characters of what a neighbour says of itself
UPSTREAM_S = probe.TOTAL_S + 1


def bell() -> Finding:
    """Whether Redis answers, and what is said on one connection is heard on another."""
    docs = "docs/settings.md#plans-limits-and-billing"
    if not settings.REDIS_URL:
        if settings.WORKERS > 1:
            text = f"{settings.WORKERS} workers, but OPSCENTER_REDIS_URL is not set."
            return warns("redis", text, "Set it: tool calls wait longer without.", docs)
        return skipped("redis", "OPSCENTER_REDIS_URL is not set; one process needs none.")
    try:
        heard = _rung()
    except redis.RedisError as error:
        text = f"It does not answer ({type(error).__name__})."
        return fails("redis", text, "Start it, or correct OPSCENTER_REDIS_URL.", docs)
    if not heard:
        text = "It answers, but does not pass messages on."
        return fails("redis", text, "Allow its user PUBLISH and SUBSCRIBE.", docs)
    return good("redis", "It answers, and the bell is heard.")


def _rung() -> bool:
    with redis.Redis.from_url(
        settings.REDIS_URL, socket_connect_timeout=ASK_S, socket_timeout=ASK_S
    ) as client:
        channel = f"opscenter.doctor.{uuid4().hex}"
        with client.pubsub() as ear:
            ear.subscribe(channel)
            ear.get_message(timeout=1)
            client.publish(channel, b"bell")
            until = time.monotonic() + 1
            while time.monotonic() < until:
                message = ear.get_message(timeout=0.2)
                if message and message["type"] == "message":
                    return True
    return False


def keycloak() -> Finding:
    """Whether every issuer gives its keys and has our time, and ours takes our client's secret."""
    docs = "docs/keycloak.md"
    if not settings.OIDC_ISSUERS:
        return skipped("keycloak", "KEYCLOAK_URL is not set.")
    skew = 0.0
    for issuer, address in settings.OIDC_ISSUERS.items():
        try:
            answer = _asked(address)
            keys = answer.json()["keys"] if answer.status_code == 200 else []
        except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
            text = f"No keys from {issuer} ({type(error).__name__})."
            return fails("keycloak", text, "Start it, or correct KEYCLOAK_URL.", docs)
        if not keys:
            text = f"{issuer} gives no keys (status {answer.status_code})."
            return fails("keycloak", text, "Correct KEYCLOAK_REALM.", docs)
        skew = max(skew, _skew_of(answer), key=abs)
    if abs(skew) > SKEW_S:
        text = f"Its clock is {skew:+.0f} s from here."
        return fails("keycloak", text, "Let NTP set both clocks.", docs)
    if _refuses_us():
        text = "It refuses KEYCLOAK_CLIENT_ID or its secret: nobody can sign in."
        return fails("keycloak", text, "Copy KEYCLOAK_CLIENT_SECRET from its client.", docs)
    count = len(settings.OIDC_ISSUERS)
    gives = "It gives its keys" if count == 1 else f"{count} issuers give their keys"
    return good("keycloak", f"{gives}, and takes our client's secret.")


def _refuses_us() -> bool:
    """Whether it does not take our client's secret, which it looks at before the code."""
    form = {
        "grant_type": "authorization_code",
        "code": "of-nobody",
        "redirect_uri": settings.OIDC_CALLBACK_URL,
        "client_id": settings.OIDC_RP_CLIENT_ID,
        "client_secret": settings.OIDC_RP_CLIENT_SECRET,
    }
    address = settings.OIDC_OP_TOKEN_ENDPOINT
    try:
        answer = _asked(address, form)
    except httpx.HTTPError:
        return False  # it gave its keys a moment ago
    return answer.status_code == 401


def _asked(address: str, form: dict[str, str] | None = None) -> httpx.Response:
    trusted = trust.context()
    with httpx.Client(timeout=ASK_S, verify=trusted, trust_env=False) as client:
        return client.post(address, data=form) if form else client.get(address)


def _skew_of(answer: httpx.Response) -> float:
    try:
        there = parsedate_to_datetime(answer.headers["date"])
    except (LookupError, ValueError):
        return 0.0
    return (there - datetime.now(UTC)).total_seconds()


def lago_there() -> Finding:
    """Whether Lago answers and takes the key."""
    docs = "docs/operations.md#lago"
    if not lago.is_configured():
        return skipped("lago", "LAGO_API_URL and LAGO_API_KEY are not set.")
    try:
        with lago.Client(patience_s=ASK_S) as client:
            client.find(f"billable_metrics/{settings.LAGO_EVENT_CODE}", "billable_metric")
    except lago.NotThereError:
        pass
    except lago.BadCredentialError:
        return fails("lago", "It refuses LAGO_API_KEY.", "Correct LAGO_API_KEY.", docs)
    except lago.LagoError as error:  # its text never holds the key
        return fails("lago", str(error)[:SHOWN], "Start it, or correct LAGO_API_URL.", docs)
    return good("lago", "It answers and takes the key.")


def upstreams() -> list[Check]:
    """A check for each that is switched on; none where the database is away."""
    try:
        rows = list(Upstream.objects.filter(enabled=True).order_by("name"))
        return [_of(table.config_of(row)) for row in rows]
    except Error:
        return []


def _of(config: UpstreamConfig) -> Check:
    name = f"upstream {config.name}"
    docs = "README.md#use-a-real-upstream"
    return Check(name=name, look=_looking(name, config, docs), docs=docs, within_s=UPSTREAM_S)


def _looking(name: str, config: UpstreamConfig, docs: str) -> Callable[[], Finding]:
    def look() -> Finding:
        found = asyncio.run(probe.tested(config))
        if found.ok:
            return good(name, str(found))
        return fails(name, str(found), f"Then: manage.py upstreams test {config.name}", docs)

    return look
