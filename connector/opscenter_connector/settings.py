"""What the connector is told before it starts. `config.py` reads it; the rest takes it as it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import ClassVar

from opscenter_connector.policy import Policy

MAX_IN_FLIGHT = 16  # the tunnel's bound for one connector
AUTO = "auto"
MAX_CALL_S = 600.0  # the tunnel's longest deadline; a tool may be given less


class Transport(str, Enum):
    """How the gateway is reached."""

    AUTO = "auto"  # WebSocket, and polling while it does not work
    WEBSOCKET = "websocket"
    POLLING = "polling"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSpec:
    """A local MCP server: a `command` that speaks over its pipes, or a `url`. One of the two."""

    name: str  # 1 to 64 of A-Z a-z 0-9 _ . -
    command: str = ""
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)  # may hold secrets
    cwd: Path | None = None
    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # may hold secrets
    start_timeout_s: float = 60.0  # `npx` may have to download the server first
    call_limit_s: float = MAX_CALL_S  # the gateway's deadline counts too; the smaller one rules

    @property
    def transport(self) -> str:
        return "http" if self.url else "stdio"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSpec:
    """The built-in server: its tools work within these folders."""

    NAME: ClassVar[str] = "local"  # no other server may have it while this one is there

    allowed_paths: tuple[Path, ...]  # absolute, as the person wrote them; at least one
    quarantine: Path  # for what commands have planted; outside these folders
    sandbox: str = AUTO  # or the one layer that is to hold commands
    sandbox_at_least: str = ""  # no command where none as good holds
    read_only: bool = False  # without the tools that change anything
    call_limit_s: float = MAX_CALL_S  # as a server's


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One run of the connector."""

    api_url: str  # https://gateway.example, with or without a path in front of /api
    api_key: str = field(repr=False)
    name: str  # of this machine, as people will read it; 1 to 100 characters
    state_dir: Path  # instance and journal; one connector at a time
    servers: tuple[ServerSpec, ...]
    local: LocalSpec | None = None  # where a person has allowed folders
    user_id: str = "me"
    transport: Transport = Transport.AUTO
    max_in_flight: int = 4
    ca_file: Path | None = None  # besides what the system trusts
    login: Path = Path("login.json")  # a sign-in that was kept, or where it will be
    is_signed_in: bool = False  # it is used, and `api_key` is empty
    policy: Policy = field(default_factory=Policy)
