"""Expands `${NAME}` and `${NAME:-default}` as `.mcp.json` files use them."""

import re
from collections.abc import Mapping

from opscenter_connector.mistakes import ConfigError

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


def expand(text: str, environment: Mapping[str, str], where: str) -> str:
    """`text` with its variables. One that is not set and has no default is an error."""

    def value(found: re.Match[str]) -> str:
        name, default = found[1], found[2]
        if default is not None:  # as in a shell: `:-` also replaces an empty value
            return environment.get(name) or default
        if name not in environment:
            raise ConfigError(f"{where}: {name} is not set; export it, or write ${{{name}:-…}}")
        return environment[name]

    return _VARIABLE.sub(value, text)
