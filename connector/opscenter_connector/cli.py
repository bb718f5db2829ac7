"""`ops-connector`: from the command line to an exit code."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opscenter_connector import arguments, config, doctor, initial, running, status, tools
from opscenter_connector.endings import ExitCode
from opscenter_connector.mistakes import ConfigError, CredentialError

Command = Callable[[config.Config, Mapping[str, Any]], int]

COMMANDS: dict[str, Command] = {
    "run": running.main,
    "doctor": doctor.main,
    "status": status.main,
    "tools": tools.main,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command. What a person can get wrong is one line, never a traceback."""
    command, given = arguments.parse(sys.argv[1:] if argv is None else argv)
    environ = config.environment()
    try:
        if command == "init":
            return initial.main(given, environ)
        return COMMANDS[command](config.load(given, environ, sys.stdin), given)
    except ConfigError as error:
        return _wrong(str(error), ExitCode.CONFIGURATION)
    except CredentialError as error:
        return _wrong(str(error), ExitCode.CREDENTIAL)
    except BrokenPipeError:  # `ops-connector tools | head`
        sys.stderr.close()
        return ExitCode.FAILED


def _wrong(text: str, code: ExitCode) -> int:
    sys.stderr.write(f"ops-connector: {text}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
