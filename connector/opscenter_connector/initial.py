"""`ops-connector init`: writes a connector.toml with comments, and never over one that is there."""

import io
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from opscenter_connector import config
from opscenter_connector.endings import ExitCode
from opscenter_connector.mistakes import ConfigError

TEMPLATE = """\
# The Ops-Center connector of this machine. Flags and MCP_… variables win over this file.
# What each key means: docs/connector.md

# Where the gateway is.
{api_url}

# A file of mode 0600 that holds the API key and nothing else. The key itself has no place here.
{api_key_file}

# How people will know this machine; its host name unless said.
{name}

# "auto" is a WebSocket, and polling while that does not work; or "websocket", "polling".
{transport}

# Calls that run at once, 16 at most.
{max_in_flight}

# Certificates to trust besides those the system does, for a gateway with a CA of its own.
{ca_file}

# Where instance and journal lie.
{state_dir}

# MCP servers as Claude Code has them: {{"mcpServers": {{"NAME": {{"command": …}}}}}}
{mcp_config}

# The built-in tools (files, search, a shell), for agents to work in these folders and nowhere else.
# Nothing of this connector's own may lie in them. MCP servers are not confined by it.
{allowed_paths}

# MCP servers of one's own. They run as you. ${{NAME}} and ${{NAME:-default}} are variables.
#
#[servers.files]
#command = "npx"
#args = ["-y", "@modelcontextprotocol/server-filesystem", "${{HOME}}/src"]
#env = {{ LOG_LEVEL = "warn" }}
#
#[servers.docs]
#url = "http://127.0.0.1:3000/mcp"
#headers = {{ Authorization = "Bearer ${{DOCS_TOKEN}}" }}

# What agents may do here, must ask about, may not. What holds without a line: docs/connector.md,
# "What is allowed". To allow more than that, name this file: ops-connector run --config …
#
#[policy]
#default = "read-only"
#approve_from = ["terminal"]
#
#[policy.servers.local.tools]
#bash = "ask"
"""

EXAMPLES: dict[str, Any] = {
    "api_url": config.API_URL,
    "api_key_file": "~/.config/opscenter-connector/key",
    "name": "laptop",
    "transport": "auto",
    "max_in_flight": 4,
    "ca_file": "/etc/ssl/company-ca.pem",
    "state_dir": "~/.local/state/opscenter-connector",
    "mcp_config": ".mcp.json",
    "allowed_paths": ["/home/me/src"],
}
TABLES = {"allowed_paths": "local"}  # where a key does not stand at the top
PATHS = {"api_key_file", "ca_file", "state_dir", "mcp_config"}
KEYLESS = "init writes no key: put it into a file and name that with --api-key-file"


def main(given: Mapping[str, Any], environ: Mapping[str, str]) -> int:
    """Write the file; ask for what is needed if nothing was said and somebody is there."""
    path = Path(given.get("config") or config.FILE).expanduser().absolute()
    if path.exists():
        raise ConfigError(f"{path} is there already; it is left as it is")
    if "api_key" in given or "api_key_stdin" in given:
        raise ConfigError(KEYLESS)
    wanted = {key: value for key, value in given.items() if key in EXAMPLES}
    if not wanted and sys.stdin.isatty():
        wanted = ask(_prompt)
    write(path, text(wanted), environ)
    _say_what_next(path, wanted)
    return ExitCode.STOPPED


def ask(prompt: Callable[[str], str]) -> dict[str, Any]:
    """The four things that nobody can guess. An empty answer takes what stands in brackets."""
    key_file = EXAMPLES["api_key_file"]
    answers = {
        "api_url": prompt(f"Address of the gateway [{config.API_URL}]: "),
        "api_key_file": prompt(f"File that holds the API key, or will [{key_file}]: ") or key_file,
        "mcp_config": prompt("A .mcp.json whose servers to front [none]: "),
        "allowed_paths": prompt("Folders for agents to work in, comma-separated [none]: "),
    }
    return {key: answer for key, answer in answers.items() if answer}


def _prompt(question: str) -> str:
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline().strip()


def text(wanted: Mapping[str, Any]) -> str:
    """The file's text: what is wanted as keys, everything else as comments."""
    lines = {
        key: _line(key, wanted[key])
        if key in wanted
        else "#" + _line(key, example, example=True).replace("\n", "\n#")
        for key, example in EXAMPLES.items()
    }
    return TEMPLATE.format(**lines)


def _line(key: str, value: Any, *, example: bool = False) -> str:
    if key == "allowed_paths" and isinstance(value, str):
        parts = (part.strip() for part in value.split(",") if part.strip())
        value = [part if part.startswith("~") else str(Path(part).absolute()) for part in parts]
    if key in PATHS and not example and not str(value).startswith("~"):
        value = str(Path(value).absolute())  # the file may lie elsewhere than one stands now
    # JSON's texts, lists and numbers are TOML's too.
    header = f"[{TABLES[key]}]\n" if key in TABLES else ""
    return f"{header}{key} = {json.dumps(value, ensure_ascii=False)}"


def write(path: Path, content: str, environ: Mapping[str, str]) -> None:
    """Write the file for this user alone; a value that is wrong leaves none behind."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(content)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None
    try:
        config.load({"config": str(path)}, environ, io.StringIO())
    except ConfigError:
        path.unlink()
        raise


def _say_what_next(path: Path, wanted: Mapping[str, Any]) -> None:
    key_file = Path(wanted.get("api_key_file", EXAMPLES["api_key_file"]))
    steps = []
    if "api_key_file" not in wanted:
        steps.append("export MCP_API_KEY=sk-uc-…    # or name a file in api_key_file")
    elif not key_file.expanduser().exists():
        steps.append(
            f"(umask 077; mkdir -p {key_file.parent}; cat > {key_file})    # paste it, then Ctrl-D"
        )
    named = "" if path == Path(config.FILE).absolute() else f" --config {path}"
    steps += [f"ops-connector doctor{named}", f"ops-connector run{named}"]
    lines = "\n".join(f"  {step}" for step in steps)
    sys.stdout.write(f"{path} is written. Then:\n{lines}\n")
