"""The one reader of flags, environment and connector.toml: the first that says something wins."""

import os
import socket
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, TypeVar
from urllib.parse import urlsplit

from opscenter_connector import addresses, credential, instance, localconfig, mcpconfig, tomlfile
from opscenter_connector.mistakes import ConfigError, CredentialError
from opscenter_connector.policing import reading
from opscenter_connector.policy import Policy
from opscenter_connector.settings import MAX_IN_FLIGHT, LocalSpec, ServerSpec, Settings, Transport

T = TypeVar("T")

API_URL = "http://127.0.0.1:8084"  # where `make run` serves
DEFAULT_VARIABLE = "MCP_API_URL_DEFAULT"  # of `manage.py runconnector`; the file wins over it
FILE = "connector.toml"
FOLDER = "opscenter-connector"  # below the user's folder for configuration
LOOPBACK = {"localhost", "127.0.0.1", "::1"}
NAME_CHARS = 100  # the gateway's bound
SIGNED_IN = "ops-connector login"  # where the credential comes from, if from no key

VARIABLES = {
    "api_url": "MCP_API_URL",
    "user_id": "MCP_USER_ID",
    "api_key": "MCP_API_KEY",
    "api_key_file": "MCP_API_KEY_FILE",
    "allowed_paths": "MCP_ALLOWED_PATHS",
}

ARGV_WARNING = (
    "the key stands in the command line, where every user of this machine can read it (ps); "
    "better: --api-key-file, --api-key-stdin or MCP_API_KEY"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What this run was told, by whatever means."""

    settings: Settings  # without a key where `key_problem` says why
    key_from: str
    key_problem: str
    log_format: str
    log_level: str
    files: tuple[Path, ...]  # that were read
    warnings: tuple[str, ...]


def environment() -> Mapping[str, str]:
    """The environment of this process; variables that are empty say nothing."""
    return {k: v for k, v in os.environ.items() if v}  # noqa: TID251  (this is the reader)


def load(given: Mapping[str, Any], environ: Mapping[str, str], stdin: TextIO) -> Config:
    """What flags (`given`), environment and file say together. A missing key is no error yet."""
    path = _file(given.get("config"), environ)
    said = tomlfile.read(path) if path else {}
    sources = _Sources(given, environ, said, path.parent if path else Path())
    servers, mcp_file = _servers(sources, path)
    login = config_dir(environ) / "login.json"
    key, key_from, key_problem = _key(sources, stdin, login)
    api_url = _api_url(sources)
    state_dir = sources.path("state_dir") or instance.default(environ)
    settings = Settings(
        api_url=api_url,
        api_key=key,
        name=_name(sources),
        state_dir=state_dir,
        servers=servers,
        local=_local(sources, servers, (path, mcp_file), state_dir),
        user_id=str(sources.first("user_id") or "me"),
        transport=Transport(sources.first("transport") or Transport.AUTO),
        max_in_flight=_at_once(sources),
        ca_file=_ca_file(sources),
        login=login,
        is_signed_in=key_from == SIGNED_IN,
        policy=_policy(sources, path, servers),
    )
    return Config(
        settings=settings,
        key_from=key_from,
        key_problem=key_problem,
        log_format=sources.first("log_format") or "text",
        log_level=sources.first("log_level") or "info",
        files=tuple(p for p in (path, mcp_file) if p),
        warnings=tuple(_warnings(given, api_url)),
    )


class _Sources:
    """The three places a value may stand in."""

    def __init__(
        self,
        given: Mapping[str, Any],
        environ: Mapping[str, str],
        said: Mapping[str, Any],
        folder: Path,
    ) -> None:
        self.given, self.environ, self.said, self._folder = given, environ, said, folder

    def first(self, key: str) -> Any:
        """The value of `key`, or None."""
        found = self._here(key)
        return self.said.get(key) if found is None else found

    def _here(self, key: str) -> Any:
        found = self.given.get(key)
        return self.environ.get(VARIABLES.get(key, "")) if found is None else found

    def path(self, key: str) -> Path | None:
        """A path; in the file it is relative to the file, elsewhere to where one stands."""
        found = self.first(key)
        if found is None:
            return None
        folder = self._folder if self._here(key) is None else Path()
        return (folder / Path(found).expanduser()).absolute()


def _file(named: str | None, environ: Mapping[str, str]) -> Path | None:
    """The connector.toml that counts: the one named, one here, or the user's own."""
    if named is not None:
        path = Path(named).expanduser().absolute()
        if not path.is_file():
            raise ConfigError(f"--config: there is no file {path}")
        return _trusted(path)
    for path in (Path(FILE).absolute(), config_dir(environ) / FILE):
        if path.is_file():
            return _trusted(path)
    return None


def _trusted(path: Path) -> Path:
    """Such a file names programs to start: who may write it may start programs as this user."""
    status = path.stat()
    if status.st_uid not in {os.getuid(), 0}:
        raise ConfigError(f"{path} belongs to another user; what it names is not started")
    if status.st_mode & stat.S_IWOTH:
        raise ConfigError(f"{path} can be changed by every user of this machine: chmod o-w {path}")
    return path


def config_dir(environ: Mapping[str, str]) -> Path:
    """The user's folder for configuration."""
    return Path(environ.get("XDG_CONFIG_HOME", "~/.config")).expanduser() / FOLDER


def _servers(sources: _Sources, path: Path | None) -> tuple[tuple[ServerSpec, ...], Path | None]:
    environ = sources.environ
    own: tuple[ServerSpec, ...] = ()
    if path:
        tables = sources.said.get("servers", {})
        own = tuple(mcpconfig.server(n, said, environ, path) for n, said in tables.items())
    mcp_file = sources.path("mcp_config")
    theirs = mcpconfig.read(_trusted_there(mcp_file), environ) if mcp_file else ()
    return mcpconfig.merged(own, theirs), mcp_file


def _policy(sources: _Sources, path: Path | None, servers: Iterable[ServerSpec]) -> Policy:
    """What the file says of it; no flag, no variable and no gateway says any of it."""
    found = sources.said.get("policy", {})
    if not path or not found:
        return Policy()
    place = tomlfile.Place(path, tomlfile.text_of(path), ("policy",))
    policy = reading.read(found, place, [spec.name for spec in servers])
    if path == Path(FILE).absolute() and "config" not in sources.given:
        reading.only_narrows(found, place)
    return policy


def _trusted_there(path: Path) -> Path:
    if not path.is_file():
        raise ConfigError(f"--mcp-config: there is no file {path}")
    return _trusted(path)


def _key(sources: _Sources, stdin: TextIO, login: Path) -> tuple[str, str, str]:
    """The key, where it comes from, and why there is none."""
    try:
        found = _found_key(sources, stdin)
    except CredentialError as error:
        return "", "", str(error)
    if found is None:
        return ("", SIGNED_IN, "") if login.is_file() else ("", "", credential.NONE)
    return (*found, "")


def _found_key(sources: _Sources, stdin: TextIO) -> tuple[str, str] | None:
    """Flags before the environment before the file; in each, the safer way before the other."""
    given, environ, said = sources.given, sources.environ, sources.said
    places: list[tuple[bool, Callable[[], str], str]] = [
        ("api_key_file" in given, lambda: _key_file(sources), "--api-key-file"),
        (
            given.get("api_key_stdin") or given.get("api_key") == "-",
            lambda: credential.from_stream(stdin),
            "standard input",
        ),
        (
            "api_key" in given,
            lambda: credential.checked(given["api_key"], "--api-key"),
            "--api-key",
        ),
        ("MCP_API_KEY_FILE" in environ, lambda: _key_file(sources), "MCP_API_KEY_FILE"),
        (
            "MCP_API_KEY" in environ,
            lambda: credential.checked(environ["MCP_API_KEY"], "MCP_API_KEY"),
            "MCP_API_KEY",
        ),
        ("api_key_file" in said, lambda: _key_file(sources), f"api_key_file in {FILE}"),
    ]
    for is_there, read, where in places:
        if is_there:
            return read(), where
    return None


def _key_file(sources: _Sources) -> str:
    path = sources.path("api_key_file")
    if path is None:
        raise CredentialError(credential.NONE)
    return credential.from_file(path)


def _api_url(sources: _Sources) -> str:
    """The gateway's address; many guides end it in /v1, where the Messages API is."""
    default = sources.environ.get(DEFAULT_VARIABLE, API_URL)
    raw = str(sources.first("api_url") or default).strip()
    try:
        addresses.of(raw)
        urlsplit(raw).port  # noqa: B018  (raises where it is no number)
    except ValueError as error:
        raise ConfigError(f"the address of the gateway (api_url, MCP_API_URL): {error}") from None
    url = raw.rstrip("/").removesuffix("/v1").rstrip("/")
    url = url if "://" in url else f"https://{url}"
    if _is_open(url) and sources.first("allow_http") is not True:
        raise ConfigError(
            f"{url} is not encrypted: whoever is on the way reads the key, and can have this "
            "machine run tools; use https://, or say --allow-http where the network is your own"
        )
    return url


def _is_open(url: str) -> bool:
    """Whether others may read what travels there, and change it."""
    parts = urlsplit(url)
    return parts.scheme in {"http", "ws"} and parts.hostname not in LOOPBACK


def _name(sources: _Sources) -> str:
    name = sources.first("name")
    if name is None:
        name = socket.gethostname()[:NAME_CHARS] or "connector"
    if not 0 < len(name) <= NAME_CHARS or not name.isprintable():
        raise ConfigError(f"name must be 1 to {NAME_CHARS} printable characters")
    return str(name)


def _at_once(sources: _Sources) -> int:
    found = sources.first("max_in_flight")
    at_once = 4 if found is None else int(found)
    if not 1 <= at_once <= MAX_IN_FLIGHT:
        raise ConfigError(f"max_in_flight must be 1 to {MAX_IN_FLIGHT}, not {at_once}")
    return at_once


def _ca_file(sources: _Sources) -> Path | None:
    path = sources.path("ca_file")
    if path is not None and not path.is_file():
        raise ConfigError(f"ca_file: there is no file {path}")
    return path


def _local(
    sources: _Sources, servers: tuple[ServerSpec, ...], files: Iterable[Path | None], state: Path
) -> LocalSpec | None:
    """The built-in server. What this program reads and keeps lies outside its folders."""
    own = [*files, sources.path("api_key_file"), config_dir(sources.environ)]
    allowed = sources.first("allowed_paths")
    said = sources.said.get("local", {})
    if allowed is sources.said.get("allowed_paths") is not None and "allowed_paths" in said:
        raise ConfigError("allowed_paths stands at the top of the file and in [local]; keep one")
    return localconfig.read(said, allowed, servers, [path for path in own if path], state)


def _warnings(given: Mapping[str, Any], api_url: str) -> list[str]:
    found = []
    if given.get("api_key") not in {None, "-"}:
        found.append(ARGV_WARNING)
    if _is_open(api_url):
        found.append(
            f"the key and all results travel unencrypted to {urlsplit(api_url).hostname}; "
            "use an https:// address if there is one"
        )
    return found
