#!/bin/sh
# manage.py as the service's user and with its settings: /usr/local/bin/opscenter on a Debian host.
#
#   opscenter doctor
#   RELEASE=/opt/opscenter/releases/2026-11-27 opscenter migrate     with the code of another release
#
# Names of files are those of the folder where it is called.
set -eu
umask 077
release=${RELEASE:-/opt/opscenter/current}
exec /sbin/runuser -u opscenter -- \
    /usr/bin/env -i PATH=/usr/bin:/bin LANG=C.UTF-8 TERM="${TERM:-dumb}" HOME=/var/lib/opscenter \
    PYTHONDONTWRITEBYTECODE=1 OPSCENTER_ENV_FILE=/etc/opscenter/opscenter.env \
    "$release/.venv/bin/python" "$release/manage.py" "$@"
