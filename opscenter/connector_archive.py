"""`GET /connector.tar.gz`: the connector's program, for whoever has no checkout of the gateway.

What is served is public: it holds no secret and opens nothing. `pip` and `pipx` take the address.
"""

import io
import tarfile
import tomllib
from functools import cache
from pathlib import Path

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

PATH = "connector.tar.gz"
ROOT: Path = settings.BASE_DIR / "connector"
PACKAGE = "opscenter_connector"


@require_safe
def archive(request: HttpRequest) -> HttpResponse:
    """A source archive, as `pip` installs it."""
    if not (ROOT / "pyproject.toml").is_file():
        raise Http404("This gateway was installed without the connector's sources.")
    return HttpResponse(_packed(), content_type="application/gzip")


@cache
def _packed() -> bytes:
    """It does not change while the process runs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    top = f"{project['name']}-{project['version']}"
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as packed:
        for path in (ROOT / "pyproject.toml", ROOT / "README.md", *_sources()):
            about = tarfile.TarInfo(f"{top}/{path.relative_to(ROOT)}")
            content = path.read_bytes()
            about.size, about.mode = len(content), 0o644
            packed.addfile(about, io.BytesIO(content))
    return held.getvalue()


def _sources() -> list[Path]:
    found = (ROOT / PACKAGE).rglob("*")
    return sorted(one for one in found if one.is_file() and "__pycache__" not in one.parts)
