# Ops-Center as a container. docs/operations.md says how to run it.

FROM python:3.11-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY requirements.txt /tmp/requirements.txt
# Wheels alone: what would need a compiler stops the build here, and not a user later.
RUN python -m venv /opt/venv \
 && /opt/venv/bin/pip install --require-hashes --only-binary :all: -r /tmp/requirements.txt \
 && /opt/venv/bin/pip uninstall --yes pip setuptools

FROM python:3.11-slim
RUN useradd --system --uid 10001 --no-create-home --home-dir /app opscenter \
 && mkdir -p /app/var \
 && chown 10001 /app/var
COPY --from=build /opt/venv /opt/venv
COPY manage.py /app/
COPY opscenter /app/opscenter
COPY accounts /app/accounts
COPY billing /app/billing
COPY mcp /app/mcp
COPY proxy /app/proxy
COPY templates /app/templates
# Handed out at /connector.tar.gz; it is never installed here.
COPY connector /app/connector
WORKDIR /app
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    OPSCENTER_HOST=0.0.0.0 \
    OPSCENTER_VAR_DIR=/app/var
USER 10001
# SQLite lies here; with PostgreSQL nothing does.
VOLUME /app/var
EXPOSE 8084
# Asks inside the container, so it needs neither a key nor the name that people use outside.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:%s/healthz' % os.environ.get('OPSCENTER_PORT', '8084'), timeout=4)"]
# No secret is in the image: without OPSCENTER_SECRET_KEY and OPSCENTER_KEY_PEPPER it does not start.
# `exec` hands the process over, so that the engine's SIGTERM reaches the server and streams may end.
CMD ["sh", "-c", "python manage.py migrate --noinput --verbosity 0 && exec python manage.py serve"]
