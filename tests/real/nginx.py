"""nginx with deploy/nginx/opscenter.conf as it stands, but for ports, waits and its certificate."""

import re
import socket
import ssl
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.environment import ROOT
from tests.gateway import eventually, free_port
from tests.real import peers

CONFIGURATION = ROOT / "deploy" / "nginx" / "opscenter.conf"
NGINX_S = 10  # it starts in a few milliseconds; a loaded machine needs more
HEADERS_S = 1

# What Debian's own nginx.conf says around a site, in the foreground and in a folder of the test's.
AROUND = """\
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log info;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/bodies;
    proxy_temp_path {folder}/answers;
    fastcgi_temp_path {folder}/other;
    uwsgi_temp_path {folder}/other;
    scgi_temp_path {folder}/other;
    include {folder}/opscenter.conf;
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nginx:
    """A running one, on loopback only."""

    port: int
    plain_port: int  # leads to the other one
    certificate: Path
    folder: Path

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def context(self) -> ssl.SSLContext:
        """What trusts it."""
        return ssl.create_default_context(cafile=str(self.certificate))

    def log(self) -> str:
        """It also says where a body or an answer went to the disk."""
        return (self.folder / "error.log").read_text()


def site(gateway_ports: Sequence[int], *, port: int, plain_port: int, folder: Path) -> str:
    """The configuration; every change must find its place."""
    text = CONFIGURATION.read_text()
    gateways = " ".join(f"server 127.0.0.1:{each};" for each in gateway_ports)
    for pattern, new in (
        (r"server 127\.0\.0\.1:8084;", gateways),
        (r"listen 80;", f"listen 127.0.0.1:{plain_port};"),
        (r"listen 443 ssl http2;", f"listen 127.0.0.1:{port} ssl http2;"),
        (r"listen \[::\]:(80|443 ssl http2);", ""),  # not every build machine has IPv6
        (r"api\.example\.com", "localhost"),
        (r"/etc/ssl/opscenter", str(folder)),
        (r"client_header_timeout 10s;", f"client_header_timeout {HEADERS_S}s;"),
    ):
        text, found = re.subn(pattern, new, text)
        assert found, pattern
    return text


@contextmanager
def running(folder: Path, *gateway_ports: int) -> Iterator[Nginx]:
    """Start it in front of gateways at these ports, which need not be there."""
    folder.mkdir()
    port, plain_port = free_port(), free_port()
    certify(folder)
    ports = {"port": port, "plain_port": plain_port}
    (folder / "opscenter.conf").write_text(site(gateway_ports, folder=folder, **ports))
    (folder / "nginx.conf").write_text(AROUND.format(folder=folder))
    program = peers.programs_of(peers.named("nginx")) / "nginx"
    process = subprocess.Popen(
        [program, "-p", folder, "-e", folder / "error.log", "-c", folder / "nginx.conf"],
        stdin=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: process.poll() is not None or _listens(port), within_s=NGINX_S)
        assert process.poll() is None, (folder / "error.log").read_text()
        yield Nginx(certificate=folder / "fullchain.pem", folder=folder, **ports)
    finally:
        process.terminate()
        process.wait(NGINX_S)


def certify(folder: Path) -> None:
    """A certificate of its own for loopback."""
    wanted = ["-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(folder / "privkey.pem"), "-out", str(folder / "fullchain.pem")]
    command = ["openssl", "req", "-x509", *wanted, *names, *files]
    subprocess.run(command, check=True, capture_output=True, timeout=NGINX_S)


def _listens(port: int) -> bool:
    with socket.socket() as line:
        return line.connect_ex(("127.0.0.1", port)) == 0
