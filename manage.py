#!/usr/bin/env python
"""Django's command line for Ops-Center."""

import sys

from django.core.management import execute_from_command_line
from django.db import OperationalError, ProgrammingError

from opscenter import env

if __name__ == "__main__":
    env.use_settings()
    try:
        execute_from_command_line(sys.argv)
    except env.BadSettingError as error:
        sys.exit(f"ops-center: {error}")
    except (OperationalError, ProgrammingError) as error:  # it is away, locked, or lacks a table
        if "--traceback" in sys.argv:
            raise
        said = " ".join(str(error).split())
        sys.exit(f"ops-center: the database: {said} (manage.py doctor looks at it; or --traceback)")
