"""What answers there, whether it takes the key, and which of the two transports get through."""

import json
import re
import time
import uuid
from email.utils import parsedate_to_datetime
from urllib.parse import quote

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake, InvalidStatus

from opscenter_connector import addresses, keys
from opscenter_connector.asking import (
    ANSWER_S,
    WORDS,
    ask,
    base,
    bearer,
    fields,
    reason,
    tls_error,
)
from opscenter_connector.checkup.network import bad_tls
from opscenter_connector.checkup.steps import FAILED, OK, WARNING, Finding, Patient
from opscenter_connector.config import Config
from opscenter_connector.credential import NONE
from opscenter_connector.mistakes import AwayError, CredentialError
from opscenter_connector.plain import clean
from opscenter_connector.settings import Transport

SKEW_S = 60.0  # less disturbs nothing
KEY = re.compile(r"sk-uc-[0-9a-z]{12}-[0-9A-Za-z]{43}\Z")

MAKE_KEY = (
    ".venv/bin/python manage.py createapikey --user NAME --name laptop --scope mcp-callback"
    "    # on the gateway"
)
NO_USER = "unset MCP_USER_ID    # and leave out --user-id: the key says who it is"
PROXY_LINES = 'the lines for nginx are in docs/operations.md, "Behind a proxy"    # on the gateway'


async def http(patient: Patient) -> Finding:
    """Whether it is an Ops-Center that answers."""
    began = time.time()
    try:
        response = await ask(patient.config.settings, "GET", "/v1/health")
    except httpx.HTTPError as error:
        return _no_answer(patient, error)
    patient.health, patient.asked_at_s = response, (began + time.time()) / 2
    said = fields(response)
    if response.is_redirect:
        target = clean(response.headers.get("location", ""), WORDS)
        return Finding(
            state=FAILED,
            seen=f"it sends one on to {target}",
            why="the connector follows no redirects: the key would go wherever they lead",
            fix=(f"export MCP_API_URL={target.split('/v1/')[0]}",),
        )
    if "database" not in said or "status" not in said:
        return _stranger(response)
    if said["database"] != "ok":
        return Finding(
            state=WARNING,
            seen=f"Ops-Center answers, but its database is {clean(str(said['database']), WORDS)}",
            why="calls wait until it is back",
        )
    return Finding(state=OK, seen="Ops-Center answers")


def _stranger(response: httpx.Response) -> Finding:
    server = clean(response.headers.get("server", ""), WORDS)
    words = clean(response.text, WORDS)
    return Finding(
        state=FAILED,
        seen=f"something else answers ({response.status_code}, {server or 'nameless'}): {words}",
        why="GET /v1/health of an Ops-Center says status and database",
        fix=("export MCP_API_URL=https://THE-GATEWAY", "ops-connector doctor"),
    )


def _no_answer(patient: Patient, error: httpx.HTTPError) -> Finding:
    trouble = tls_error(error)
    if trouble is not None:
        return bad_tls(patient, trouble)
    if isinstance(error, httpx.ProxyError):
        return Finding(
            state=FAILED,
            seen=f"the proxy refuses: {clean(str(error), WORDS)}",
            why="it wants credentials, or does not let this host through",
            fix=(
                "export HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT",
                f"export NO_PROXY={patient.host}    # to go past it",
            ),
        )
    seen = clean(str(error), WORDS) or type(error).__name__
    return Finding(
        state=FAILED,
        seen=f"no HTTP answer: {seen}",
        why="something listens there, but it is no web server, or hangs",
        fix=(f"curl -v {base(patient.config.settings)}/v1/health",),
    )


async def clock(patient: Patient) -> Finding:
    """How far this machine's clock is from the gateway's."""
    date = patient.health.headers.get("date", "") if patient.health else ""
    try:
        theirs = parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError):
        return Finding(state=OK, seen="the gateway says no time")
    off = patient.asked_at_s - theirs
    if abs(off) <= SKEW_S:
        return Finding(state=OK, seen=f"{abs(off):.0f} s from the gateway's")
    word = "ahead of" if off > 0 else "behind"
    return Finding(
        state=WARNING,
        seen=f"{abs(off):.0f} s {word} the gateway's",
        why="calls measure with a clock of their own and work; certificates and logs do not",
        fix=("sudo timedatectl set-ntp true", "sudo sntp -sS time.apple.com    # macOS"),
    )


async def key_shape(patient: Patient) -> Finding:
    """Whether it can be a key of a gateway at all."""
    config = patient.config
    if config.settings.is_signed_in:
        return await _sign_in(config)
    key = config.settings.api_key
    if not key:
        seen, *rest = config.key_problem.splitlines()
        fix = ("export MCP_API_KEY=sk-uc-…", MAKE_KEY) if config.key_problem == NONE else rest
        seen = seen.removesuffix(". Give one by")
        return Finding(state=FAILED, seen=seen, fix=tuple(line.strip() for line in fix))
    if KEY.match(key):
        return Finding(state=OK, seen=f"{key[:18]}…, from {config.key_from}")
    seen = f"what {config.key_from} holds is no key of an Ops-Center"
    if key.startswith("sk-ant-"):
        seen = f"what {config.key_from} holds is a key of Anthropic"
    return Finding(
        state=FAILED,
        seen=seen,
        why="one is sk-uc-, 12 characters, a dash and 43 more; cut off when it was copied?",
        fix=(MAKE_KEY,),
    )


async def _sign_in(config: Config) -> Finding:
    try:
        await keys.of(config.settings).fresh()
    except CredentialError as error:
        return Finding(state=FAILED, seen=str(error), fix=("ops-connector login",))
    except AwayError as error:
        return Finding(state=FAILED, seen=str(error), why="it may be back in a moment")
    return Finding(state=OK, seen=f"a token, from {config.key_from}")


async def accepted(patient: Patient) -> Finding:
    """Whether the gateway knows the key."""
    settings = patient.config.settings
    path = f"/api/mcp/servers/{quote(settings.user_id, safe='')}"
    try:
        response = await ask(settings, "GET", path, await bearer(settings))
    except httpx.HTTPError as error:
        return _no_answer(patient, error)
    patient.account = response
    if response.status_code in {200, 403} or _is_of_user(response):
        return Finding(state=OK, seen="the gateway takes it")
    if response.status_code == 401:
        return Finding(
            state=FAILED,
            seen=f"it is not taken: {reason(response)}",
            why="it was revoked, has expired, or belongs to another gateway",
            fix=(MAKE_KEY,),
        )
    if response.status_code == 404:
        return Finding(
            state=FAILED,
            seen=f"{base(settings)}{path} is not there",
            why="this gateway is older than its tunnel, or a proxy hides /api/mcp",
            fix=(f"curl -i {base(patient.config.settings)}/api/mcp/status",),
        )
    seen = f"{response.status_code}: {reason(response)}"
    return Finding(state=FAILED, seen=seen, why="the gateway cannot say now; try again")


def _is_of_user(response: httpx.Response) -> bool:
    """Whether it is the gateway that knows no such user, and not the path that is not there."""
    return response.status_code == 404 and bool(fields(response).get("detail"))


async def scope(patient: Patient) -> Finding:
    """Whether the key may open a tunnel, for this user."""
    response, user = patient.account, patient.config.settings.user_id
    if response is None or response.is_success:
        return Finding(state=OK, seen=f"mcp-callback, for user {clean(user)}")
    fix: tuple[str, ...]
    if user == "me":
        why, fix = "only a key with the scope mcp-callback opens a tunnel", (MAKE_KEY,)
    elif _is_of_user(response):
        why, fix = f"user {clean(user)} is not the key's owner", (NO_USER,)
    else:
        why = "the key lacks the scope mcp-callback, or the user is not the key's owner"
        fix = (NO_USER, MAKE_KEY)
    return Finding(state=FAILED, seen=reason(response), why=why, fix=fix)


async def websocket(patient: Patient) -> Finding:
    """Whether a WebSocket gets through. It says nothing, so no session is touched."""
    settings = patient.config.settings
    if settings.transport is Transport.POLLING:
        return Finding(state=OK, seen="not used: transport is polling")
    where = addresses.of(settings.api_url, settings.user_id).websocket
    context = addresses.trust(settings.ca_file) if where.startswith("wss:") else None
    began = time.monotonic()
    try:
        async with connect(
            where,
            additional_headers=await bearer(settings),
            ssl=context,
            open_timeout=ANSWER_S,
            close_timeout=1,
        ):
            return Finding(state=OK, seen=f"opens ({time.monotonic() - began:.2f} s)")
    except InvalidStatus as error:
        said = clean((error.response.body or b"").decode("utf-8", "replace"), WORDS)
        return _no_socket(patient, f"refused with {error.response.status_code}: {said}")
    except (InvalidHandshake, OSError, TimeoutError) as error:
        return _no_socket(patient, clean(str(error), WORDS) or "no answer")


def _no_socket(patient: Patient, seen: str) -> Finding:
    is_needed = patient.config.settings.transport is Transport.WEBSOCKET
    then = "and transport is websocket" if is_needed else "so polling will be used"
    return Finding(
        state=FAILED if is_needed else WARNING,
        seen=f"{seen}; {then}",
        why="a proxy between here and the gateway passes no WebSocket",
        fix=("ops-connector run --transport polling", PROXY_LINES),
    )


async def poll(patient: Patient) -> Finding:
    """Whether polls get through. This one is of a session that never was, so none is touched."""
    settings = patient.config.settings
    if settings.transport is Transport.WEBSOCKET:
        return Finding(state=OK, seen="not used: transport is websocket")
    body = {"instance": str(uuid.uuid4()), "epoch": 1, "frames": [], "wait_ms": 0}
    try:
        response = await ask(
            settings, "POST", "/api/mcp/poll", await bearer(settings), json.dumps(body)
        )
    except httpx.HTTPError as error:
        return _no_answer(patient, error)
    # Refused, of course: but in JSON, by the gateway, which has therefore read it.
    if response.status_code in {200, 404, 408, 409} and fields(response):
        return Finding(state=OK, seen="gets through")
    return Finding(
        state=FAILED,
        seen=f"{response.status_code}: {reason(response)}",
        why="a proxy between here and the gateway does not pass on what is posted",
        fix=(f"curl -i -X POST {base(patient.config.settings)}/api/mcp/poll", PROXY_LINES),
    )
