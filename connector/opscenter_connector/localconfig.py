"""Reads what is said of the built-in server: the folders that its tools may enter."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from opscenter_connector.local import refusals
from opscenter_connector.mistakes import ConfigError
from opscenter_connector.settings import AUTO, MAX_CALL_S, LocalSpec, ServerSpec

MAX_FOLDERS = 32  # each is named to the model in every description


def read(
    said: Mapping[str, Any],
    allowed: Any,
    servers: Iterable[ServerSpec],
    own: Iterable[Path],
    state_dir: Path,
) -> LocalSpec | None:
    """The built-in server as [local] (`said`) and `allowed`, said elsewhere, have it.

    `own` are this connector's files, besides those in `state_dir`. Raises ConfigError.
    """
    found = said.get("allowed_paths", []) if allowed is None else allowed
    raw = found if isinstance(found, list) else found.split(",")
    own = [path.resolve() for path in (*own, state_dir)]
    folders = tuple(_folder(text.strip(), own) for text in raw if text.strip())
    if not folders:
        return None
    if len(folders) > MAX_FOLDERS:
        raise ConfigError(f"{len(folders)} allowed paths; {MAX_FOLDERS} are the most")
    if any(server.name == LocalSpec.NAME for server in servers):
        raise ConfigError(
            f"a server is named {LocalSpec.NAME!r}, as the built-in one is; give it another name, "
            "or allow no paths"
        )
    return LocalSpec(
        allowed_paths=folders,
        quarantine=state_dir / "quarantine",
        sandbox=said.get("sandbox", AUTO),
        sandbox_at_least=said.get("sandbox_at_least", ""),
        read_only=said.get("read_only", False),
        call_limit_s=min(float(said.get("call_limit_s", MAX_CALL_S)), MAX_CALL_S),
    )


def _folder(text: str, own: Iterable[Path]) -> Path:
    path = Path(text).expanduser()
    if not path.is_absolute():
        raise ConfigError(f"allowed path {text!r} is relative; write {Path(text).absolute()}")
    if not path.exists():
        raise ConfigError(f"allowed path {text!r} does not exist")
    if reason := refusals.refused(path.resolve(), own):
        raise ConfigError(f"allowed path {text!r} is refused: {reason}")
    return path
