"""What can be seen without asking anybody: secrets, files, the disk, addresses."""

import os
import shutil
import stat
from urllib.parse import urlsplit

from django.conf import settings

from opscenter import env
from opscenter.doctor.finding import Finding, fails, good, skipped, warns

LEAST_BYTES = 200 * 1024 * 1024  # below it SQLite's journal and the logs soon find no room
LOW_BYTES = 2 * 1024 * 1024 * 1024


def secrets() -> Finding:
    """Whether all are there, each its own. A short one or an example stops every command itself."""
    docs = "docs/settings.md#secrets"
    if settings.SECRET_KEY == settings.KEY_PEPPER:
        text = "OPSCENTER_SECRET_KEY and OPSCENTER_KEY_PEPPER are the same."
        return fails("secrets", text, "Give OPSCENTER_SECRET_KEY a value of its own.", docs)
    if not settings.ENCRYPTION_KEYS:
        text = "OPSCENTER_ENCRYPTION_KEYS is empty: no credential can be stored."
        return warns("secrets", text, "Set it to random text of 32 characters.", docs)
    return good("secrets", "All three are set.")


def env_file() -> Finding:
    """Whether others on this machine may read `.env`, and the gateway all that it says."""
    if not env.DOTENV.is_file():
        return skipped("env file", f"{env.DOTENV} is no file; the environment has the settings.")
    found = env.DOTENV.stat()
    mode = stat.S_IMODE(found.st_mode)
    # What is root's we read by our group, and cannot change.
    forbidden = 0o077 if found.st_uid == os.geteuid() else 0o037
    if mode & forbidden:
        text = f"{env.DOTENV} has mode {mode:03o}: others may read its secrets."
        return fails("env file", text, f"chmod 600 {env.DOTENV}", "docs/settings.md#secrets")
    for name, meant in env.unknown().items():
        text = f"{env.DOTENV} sets {name}, which no setting is called."
        way_out = f"Was {meant} meant?" if meant else "Take it out."
        return warns("env file", text, way_out, "docs/settings.md")
    return good("env file", f"{env.DOTENV} is read by nobody else ({mode:03o}).")


def disk() -> Finding:
    """Whether there is room for the database and what lies beside it."""
    docs = "docs/operations.md#retention"
    try:
        free = shutil.disk_usage(settings.VAR_DIR).free
    except OSError as error:
        text = f"{settings.VAR_DIR} cannot be used: {error.strerror}."
        return fails("disk", text, "Run manage.py setup, or set OPSCENTER_VAR_DIR.", docs)
    text = f"{free / 2**30:.1f} GiB free at {settings.VAR_DIR}."
    if free < LEAST_BYTES:
        return fails("disk", text, "Make room: writes are about to fail.", docs)
    if free < LOW_BYTES:
        return warns("disk", text, "Make room, or set OPSCENTER_KEEP_DAYS.", docs)
    return good("disk", text)


def addresses() -> Finding:
    """Whether EXTERNAL_API_URL, the proxies in front and debugging fit each other."""
    external = urlsplit(settings.EXTERNAL_API_URL)
    docs = "docs/operations.md#behind-a-tls-proxy"
    if settings.DEBUG:
        text = "OPSCENTER_DEBUG is on: error pages show source and settings."
        return fails("addresses", text, "Unset OPSCENTER_DEBUG.", "docs/settings.md")
    is_local = external.hostname in {"127.0.0.1", "localhost", "::1"}
    if is_local:
        return good("addresses", f"{settings.EXTERNAL_API_URL}: for this machine alone.")
    if external.scheme != "https":
        text = f"{settings.EXTERNAL_API_URL} is not https: keys travel in the clear."
        return warns("addresses", text, "Put a TLS proxy in front of it.", docs)
    if not settings.TRUSTED_PROXIES:
        text = "EXTERNAL_API_URL is https, but OPSCENTER_TRUSTED_PROXIES is 0."
        return warns("addresses", text, "Set it to the number of proxies in front.", docs)
    count = settings.TRUSTED_PROXIES
    proxies = "1 proxy" if count == 1 else f"{count} proxies"
    return good("addresses", f"{settings.EXTERNAL_API_URL}, behind {proxies}.")
