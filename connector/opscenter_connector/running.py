"""`ops-connector run`: work until a signal, and say meanwhile what goes on."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console

from opscenter_connector import program
from opscenter_connector.config import Config
from opscenter_connector.endings import Ending, ExitCode
from opscenter_connector.logs import JsonLog, TextLog, taken_over
from opscenter_connector.mistakes import CredentialError
from opscenter_connector.policing.desk import TerminalDesk
from opscenter_connector.screen import Screen
from opscenter_connector.telling import Sink, Teller
from opscenter_connector.wording import counted

AT_ONCE = 130  # the shell's code for a program that Ctrl-C ended
AT_ONCE_S = 2.0  # for local servers to be told, after a second signal

HINTS = {
    ExitCode.CREDENTIAL: "ops-connector doctor says which of key, scope and user it is",
    ExitCode.VERSION: "install the connector that belongs to the gateway: make connector",
    ExitCode.FENCED: "two connectors share one state; give one of them its own --state-dir",
}

NO_TOOLS = (
    "no MCP server is configured and no path allowed: it connects, and has no tool to offer. "
    "--allowed-paths /path/of/a/project offers the built-in ones; name servers with --mcp-config "
    ".mcp.json, or in connector.toml (ops-connector init writes one)"
)


def main(config: Config, given: Mapping[str, Any]) -> int:
    """Connect, and come back when it is over."""
    if config.key_problem:
        raise CredentialError(config.key_problem)
    desk = _desk(config)
    teller = Teller(_sink(config, desk), config.log_level, secret=config.settings.api_key)
    if desk is not None:
        desk.told_by(teller)
    try:
        _introduce(config, teller)
        with taken_over(teller, config.log_level), desk or nullcontext():
            ending = asyncio.run(_work(config, teller, desk))
        level = "info" if ending.exit_code is ExitCode.STOPPED else "error"
        teller.note(level, ending.reason, exit_code=int(ending.exit_code))
        if ending.exit_code in HINTS:
            teller.note("info", HINTS[ending.exit_code])
    except asyncio.CancelledError:
        teller.note("warning", "ended at once; calls that ran are reported at the next start")
        return AT_ONCE
    except Exception as error:
        # A defect of ours. Whoever reports it needs all of it, and the terminal back.
        teller.note("error", f"a defect: {type(error).__name__}: {error}")
        teller.close()
        raise
    finally:
        teller.close()
    return int(ending.exit_code)


def _desk(config: Config) -> TerminalDesk | None:
    """Where there is a screen and a keyboard, and a person may approve by them."""
    asks = "terminal" in config.settings.policy.approve_from
    there = _has_screen(config) and sys.stdin is not None and sys.stdin.isatty()
    return TerminalDesk(sys.stdin.fileno()) if asks and there else None


def _has_screen(config: Config) -> bool:
    # Asked of the stream itself: variables like FORCE_COLOR change what rich believes.
    return (
        config.log_format != "json"
        and sys.stderr.isatty()
        and not Console(stderr=True).is_dumb_terminal
    )


def _sink(config: Config, desk: TerminalDesk | None) -> Sink:
    if config.log_format == "json":
        return JsonLog(sys.stderr)
    if not _has_screen(config):
        return TextLog(sys.stderr)
    console = Console(stderr=True, highlight=False)
    return Screen(console, host(config), desk.prompt if desk is not None else None)


def host(config: Config) -> str:
    """The gateway's host and port, as a person knows it."""
    return urlsplit(config.settings.api_url).netloc


def _introduce(config: Config, teller: Teller) -> None:
    settings = config.settings
    teller.note(
        "info",
        f"{settings.name}, for {settings.api_url}; state in {settings.state_dir}",
        api_url=settings.api_url,
        state_dir=str(settings.state_dir),
    )
    for path in config.files:
        teller.note("info", f"reads {path}")
    for text in config.warnings:
        teller.note("warning", text)
    if settings.local is not None:
        paths = ", ".join(map(str, settings.local.allowed_paths))
        teller.note("info", f"the built-in tools work in {paths}")
        if settings.servers:
            fronted = counted(len(settings.servers), "MCP server")
            teller.note("warning", f"the allowed paths do not confine the {fronted} fronted here")
    elif not settings.servers:
        teller.note("warning", NO_TOOLS)


async def _work(config: Config, teller: Teller, desk: TerminalDesk | None) -> Ending:
    stop = asyncio.Event()
    work = asyncio.ensure_future(
        program.run(config.settings, teller.tell, stop, desk or program.NOBODY)
    )
    with _signals(stop, work):
        return await work


@contextmanager
def _signals(stop: asyncio.Event, work: "asyncio.Future[Ending]") -> Iterator[None]:
    """The first signal asks, the second Ctrl-C ends at once."""
    loop = asyncio.get_running_loop()

    def interrupted() -> None:
        if not stop.is_set():
            stop.set()
        elif not work.cancel():
            return
        else:
            # If even that hangs. The journal was written before each thing it tells of.
            killer = threading.Timer(AT_ONCE_S, os._exit, [AT_ONCE])
            killer.daemon = True
            killer.start()

    loop.add_signal_handler(signal.SIGINT, interrupted)
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(number)
