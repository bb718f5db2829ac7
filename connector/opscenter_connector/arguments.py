"""The command line: what may be said, and the help that explains it."""

import argparse
from collections.abc import Sequence
from typing import Any

from opscenter_connector import __version__
from opscenter_connector.settings import MAX_IN_FLIGHT, Transport
from opscenter_connector.wording import LEVELS

COMMANDS = {
    "run": "connect, and run the tool calls that come (also without a command)",
    "doctor": "try every step from here to the gateway, and say what to do about what fails",
    "status": "say whether a connector runs here, and what the gateway knows of it",
    "tools": "start the local servers, list their tools, and stop them",
    "init": "write a connector.toml with comments",
    "login": "sign in with a browser instead of an API key, where the gateway has a Keycloak",
    "token": "print an access token of that sign-in, for Claude Code's apiKeyHelper",
    "logout": "end that sign-in",
}

EPILOG = """\
examples:
  ops-connector init --api-url https://gateway.example --mcp-config .mcp.json
  ops-connector doctor
  ops-connector run --mcp-config .mcp.json
  ops-connector run --api-key-stdin --transport polling < key.txt

environment (flags win over it, it wins over connector.toml):
  MCP_API_URL         the gateway, http://127.0.0.1:8084 unless said
  MCP_API_KEY         a key with the scope mcp-callback
  MCP_API_KEY_FILE    a file of mode 0600 that holds it
  MCP_USER_ID         whose machine this is; "me" unless said
  MCP_ALLOWED_PATHS   folders for the built-in tools, comma-separated
  SSL_CERT_FILE       certificates to trust, for a gateway with a CA of its own
  HTTPS_PROXY, HTTP_PROXY, NO_PROXY, NO_COLOR
                      as everywhere

configuration is read from --config, else ./connector.toml, else
~/.config/opscenter-connector/connector.toml. `init` writes one.

exit codes:
  0  stopped as asked; all checks passed
  1  a check failed (doctor, status, tools), or a defect
  2  the command line or the configuration is wrong
  3  the key is missing or not taken, or lacks the scope mcp-callback
  4  gateway and connector do not speak the same version of the tunnel
  5  another session took over: this machine's state is in use elsewhere
"""

SERVERS = """\
local servers come from [servers.NAME] in connector.toml and from --mcp-config, a file like
  {"mcpServers": {"files": {"command": "npx",
     "args": ["-y", "@modelcontextprotocol/server-filesystem", "${HOME}/src"]}}}
They run as you. --allowed-paths does not confine them: it is for the built-in tools (files,
search and a shell), which are offered as the server `local` and work in these folders only.
"""


# Every default is "not there": what a flag does not say may stand in the environment or the file.
# And a command's parser must not wipe out what stood before the command.
SHAPE: dict[str, Any] = {
    "formatter_class": argparse.RawDescriptionHelpFormatter,
    "argument_default": argparse.SUPPRESS,
    "allow_abbrev": False,
}


def parse(argv: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The command, and the flags that were given; those that were not are not there."""
    given = vars(_parser().parse_args(list(argv)))
    command = given.pop("command", None) or "run"
    return command, given


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ops-connector",
        usage=f"ops-connector [{' | '.join(COMMANDS)}] [options]",
        description="Lends this machine's MCP servers to agents on an Ops-Center gateway. "
        "It dials out; nothing listens here.",
        epilog=EPILOG,
        **SHAPE,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, text in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=text,
            usage=f"ops-connector {name} [options]",
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=SERVERS,
            **SHAPE,
        )
        _add_options(command)
        if name in {"doctor", "status", "tools"}:
            command.add_argument("--json", action="store_true", help="one JSON object on stdout")
    _add_options(parser)
    said = f"ops-connector {__version__}"
    parser.add_argument("--version", action="version", version=said)
    return parser


def _add_options(parser: argparse.ArgumentParser) -> None:
    """All of them everywhere: before the command, after it, and without one."""
    _add_connection(parser)
    _add_key(parser)
    _add_servers(parser)
    _add_output(parser)


def _add_connection(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("gateway")
    group.add_argument("--api-url", metavar="URL", help="where it is (MCP_API_URL)")
    group.add_argument("--user-id", metavar="ID", help="whose machine this is (MCP_USER_ID)")
    group.add_argument(
        "--transport",
        choices=[transport.value for transport in Transport],
        help="auto is a WebSocket, and polling while that does not work",
    )
    group.add_argument(
        "--allow-http", action="store_true", help="also without TLS to another machine"
    )
    group.add_argument("--ca-file", metavar="PATH", help="certificates to trust besides")
    group.add_argument("--name", metavar="NAME", help="of this machine; its host name unless said")
    group.add_argument(
        "--max-in-flight",
        type=_whole,
        metavar="N",
        help=f"calls at once, 4 unless said, {MAX_IN_FLIGHT} at most",
    )


def _add_key(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("key (also MCP_API_KEY, MCP_API_KEY_FILE)")
    ways = group.add_mutually_exclusive_group()
    ways.add_argument("--api-key-file", metavar="PATH", help="a file of mode 0600 that holds it")
    ways.add_argument(
        "--api-key-stdin", action="store_true", help="the first line of standard input"
    )
    ways.add_argument(
        "--api-key",
        metavar="KEY",
        help="the key itself: every user of this machine can read it; - is standard input",
    )


def _add_servers(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("this machine")
    group.add_argument("--config", metavar="PATH", help="a connector.toml")
    group.add_argument("--mcp-config", metavar="PATH", help="a .mcp.json as Claude Code reads it")
    group.add_argument(
        "--allowed-paths",
        metavar="PATHS",
        help="folders for the built-in tools, comma-separated (MCP_ALLOWED_PATHS); "
        "MCP servers are not confined by it",
    )
    group.add_argument("--state-dir", metavar="PATH", help="instance and journal")


def _add_output(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument("--log-format", choices=["text", "json"], help="on stderr")
    group.add_argument("--log-level", choices=LEVELS, help="info unless said")


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
