"""`ops-connector`: from the command line to an exit code."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opscenter_connector import arguments, config, initial
from opscenter_connector.endings import ExitCode
from opscenter_connector.mistakes import AwayError, ConfigError, CredentialError

Command = Callable[[config.Config, Mapping[str, Any]], int]
INTERRUPTED = 130  # the shell's code for a program that Ctrl-C ended


def _run(settled: config.Config, given: Mapping[str, Any]) -> int:
    # Imported here, as in the next ones: the MCP SDK takes a second, and neither --help nor a
    # mistake in the configuration should.
    from opscenter_connector import running

    return running.main(settled, given)


def _doctor(settled: config.Config, given: Mapping[str, Any]) -> int:
    from opscenter_connector import doctor

    return doctor.main(settled, given)


def _tools(settled: config.Config, given: Mapping[str, Any]) -> int:
    from opscenter_connector import tools

    return tools.main(settled, given)


def _status(settled: config.Config, given: Mapping[str, Any]) -> int:
    from opscenter_connector import status

    return status.main(settled, given)


def _signing(name: str) -> Command:
    def signing(settled: config.Config, given: Mapping[str, Any]) -> int:
        from opscenter_connector import signin

        return {"login": signin.login, "token": signin.token, "logout": signin.logout}[name](
            settled, given
        )

    return signing


COMMANDS: dict[str, Command] = {
    "run": _run,
    "doctor": _doctor,
    "status": _status,
    "tools": _tools,
    **{name: _signing(name) for name in ("login", "token", "logout")},
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
    except AwayError as error:
        return _wrong(str(error), ExitCode.FAILED)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # `ops-connector tools | head`
        sys.stderr.close()
        return ExitCode.FAILED


def _wrong(text: str, code: ExitCode) -> int:
    sys.stderr.write(f"ops-connector: {text}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
