#!/usr/bin/env python
"""Django's command line for Ops-Center."""

import sys

from django.core.management import execute_from_command_line
from django.db import Error

from opscenter import env

if __name__ == "__main__":
    env.use_settings()
    try:
        execute_from_command_line(sys.argv)
    except env.BadSettingError as error:
        sys.exit(f"ops-center: {error}")
    except Error as error:
        from opscenter import plainly  # its neighbours read the settings

        said = None if "--traceback" in sys.argv else plainly.said_of(error)
        if said is None:
            raise
        sys.exit(f"ops-center: {said}")
