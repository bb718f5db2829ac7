"""LiteLLM's proxy, the real one, before scripted models: on a free port, stopped by its pid."""

import json
import os
import secrets
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from proxy.models import Route, Upstream
from tests import gateway as gateways
from tests.real import peers

READY_S = 240.0  # it imports for ten seconds, for longer on a busy machine
STOP_S = 20.0
LOG_CHARS = 4000

# The model names it serves, by what answers for them.
OPENAI = "scripted-openai"
ANTHROPIC = "claude-scripted"


@dataclass(frozen=True, slots=True, kw_only=True)
class LiteLLM:
    """A running proxy, and the key that it takes."""

    url: str
    key: str
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """End it as a crash would: no goodbye to anybody."""
        self.process.kill()
        self.process.wait(STOP_S)


def lead_to(server: LiteLLM, model: str, *, kind: str, position: int = 1) -> None:
    """Route every model to the proxy's `model`, before the routes that are there."""
    bearer = Upstream.CredentialHeader.BEARER
    # A name that no other test has: the gateway remembers how upstreams have failed by theirs.
    name = f"litellm-{secrets.token_hex(4)}"
    row = Upstream(name=name, kind=kind, base_url=server.url, credential_header=bearer)
    row.store(server.key)
    row.save()
    Route.objects.create(pattern="*", upstream=row, target_model=model, position=position)


@contextmanager
def running(folder: Path, *, openai: str, anthropic: str) -> Iterator[LiteLLM]:
    """Serve OPENAI by the server at `openai`, ANTHROPIC by the one at `anthropic`."""
    config, log = folder / "litellm.yaml", folder / "litellm.log"
    config.write_text(json.dumps(_configuration(openai, anthropic)))  # JSON is YAML as well
    port, key = gateways.free_port(), f"sk-{secrets.token_hex(32)}"
    program = peers.environment_of(peers.named("litellm")) / "bin" / "litellm"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [program, "--config", config, "--host", "127.0.0.1", "--port", str(port)],
            cwd=folder,
            env={
                "PATH": os.defpath,
                "HOME": str(folder),
                "LANG": "C.UTF-8",
                "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # nothing is fetched
                "LITELLM_LOG": "ERROR",
                "LITELLM_MASTER_KEY": key,
                "NO_DOCS": "True",
            },
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        gateways.eventually(lambda: process.poll() is not None or _listens(port), READY_S)
        assert process.poll() is None, log.read_text(errors="replace")[-LOG_CHARS:]
        yield LiteLLM(url=f"http://127.0.0.1:{port}", key=key, process=process)
    finally:
        _stop(process)


def _configuration(openai: str, anthropic: str) -> object:
    def model(name: str, path: str, address: str) -> object:
        params = {"model": path, "api_base": address, "api_key": "none"}
        return {"model_name": name, "litellm_params": params}

    return {
        "model_list": [
            model(OPENAI, "openai/scripted", f"{openai}/v1"),
            model(ANTHROPIC, "anthropic/claude-opus-5-5", anthropic),
        ],
        "litellm_settings": {
            "num_retries": 0,  # who retries is what the tests are about
            # Without it an openai/ model is asked by the Responses API, which few servers have.
            "use_chat_completions_url_for_anthropic_messages": True,
        },
        # A model that failed in one test must not rest in the next.
        "router_settings": {"disable_cooldowns": True},
    }


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
