"""The documents say what is so: every setting, every link, every command."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import get_commands
from django.urls import Resolver404, resolve

from opscenter.http_metrics import path_of

ROOT = Path(__file__).resolve().parent.parent.parent
SETTINGS = [ROOT / "opscenter" / name for name in ("settings.py", "identity.py")]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]

ROW = re.compile(r"^\| `([A-Z][A-Z0-9_]+)` \| ([^|]+) \|", re.MULTILINE)
VARIABLE = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+")
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
COMMAND = re.compile(r"(?:^|`|&& )make ([a-z]+)\b", re.MULTILINE)
TARGET = re.compile(r"^([a-z]+):", re.MULTILINE)
GUIDE = ROOT / "docs" / "setup.md"
PATH = re.compile(r"/(?:v1|api)/[a-z0-9_/-]+|/(?:portal|admin|approvals)/")
MANAGE = re.compile(r"manage\.py ([a-z]+)")
OWN = re.compile(r"OPSCENTER_[A-Z0-9_]+|EXTERNAL_API_URL|(?:BRIGADE|LITELLM|LAGO|KEYCLOAK)_URL")
TUNNEL = "/api/mcp/ws/"  # routed by Channels


def documented() -> dict[str, str]:
    """Every setting that docs/settings.md names, with what it says of the default."""
    rows = ROW.findall((ROOT / "docs" / "settings.md").read_text())
    assert len(rows) == len({name for name, _ in rows}), "a setting stands there twice"
    return {name: default.strip() for name, default in rows}


def calls_of_env() -> Iterator[ast.Call]:
    """Every `env.<reader>(...)` in the settings."""
    for node in (each for path in SETTINGS for each in ast.walk(ast.parse(path.read_text()))):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "env"
        ):
            yield node


def settings_read() -> set[str]:
    """The names that the settings read."""
    return {ast.literal_eval(call.args[0]) for call in calls_of_env()}


def names_read_elsewhere() -> set[str]:
    """The variables that stand in a module which asks for credentials or reads the environment."""
    apps = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    found: set[str] = set()
    for app in apps["root_packages"]:
        for path in sorted((ROOT / app).rglob("*.py")):
            source = path.read_text()
            asks = "READ_CREDENTIAL" in source or "os.environ" in source
            if asks and path not in SETTINGS and "tests" not in path.parts:
                found |= {text for text in constants(source) if VARIABLE.fullmatch(text)}
    return found


def constants(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_it_documents_every_setting_that_is_read() -> None:
    assert settings_read() | names_read_elsewhere() <= documented().keys()


def test_it_documents_no_setting_that_nobody_reads() -> None:
    assert documented().keys() <= settings_read() | names_read_elsewhere()


def test_it_documents_the_defaults_of_the_code() -> None:
    says = documented()
    for call in calls_of_env():
        match call.args:
            case [ast.Constant(value=str(name)), ast.Constant(value=value)] if value != "":
                shown = str(value).lower() if isinstance(value, bool) else str(value)
                assert f"`{shown}`" in says[name], f"{name} defaults to {shown}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_it_links_only_to_files_that_exist(path: Path) -> None:
    lost = [link for link in LINK.findall(path.read_text()) if not (path.parent / link).exists()]
    assert lost == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_it_names_only_commands_that_make_knows(path: Path) -> None:
    known = set(TARGET.findall((ROOT / "Makefile").read_text()))
    assert set(COMMAND.findall(path.read_text())) <= known


def test_the_guide_names_only_paths_that_lead_somewhere() -> None:
    named = set(PATH.findall(GUIDE.read_text()))
    assert {"/v1/health", "/api/mcp/servers/me", "/portal/"} <= named
    assert [path for path in sorted(named) if not leads_somewhere(path)] == []
    assert not leads_somewhere("/api/v1/nothing")
    assert not leads_somewhere("/v1/nothing")


def leads_somewhere(path: str) -> bool:
    if path.startswith(TUNNEL):
        return True
    return any(is_served(path, by) for by in ("opscenter.urls", "proxy.urls", "mcp.lean_urls"))


def is_served(path: str, by: str) -> bool:
    """Whether a table has `path`; under /v1 its last entry takes all, so that entry is none."""
    try:
        return "..." not in path_of(resolve(path, by).route)
    except Resolver404:
        return False


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_it_names_only_commands_of_manage_that_exist(path: Path) -> None:
    assert set(MANAGE.findall(path.read_text())) <= get_commands().keys()


def test_the_guide_names_only_settings_that_exist() -> None:
    named = set(OWN.findall(GUIDE.read_text()))
    assert "OPSCENTER_PORT" in named
    assert named <= documented().keys()


@pytest.mark.parametrize("path", sorted((ROOT / "opscenter" / "doctor").glob("*.py")), ids=str)
def test_the_doctor_sends_people_only_where_something_stands(path: Path) -> None:
    for document, section in re.findall(r"((?:docs/)?\w+\.md)(?:#([\w-]+))?", path.read_text()):
        assert not section or section in sections(ROOT / document), f"{document}#{section}"


def sections(path: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in heads}


def test_it_finds_what_it_looks_for() -> None:
    # The tests above pass on empty sets; these would be empty if a pattern no longer fitted.
    readme = (ROOT / "README.md").read_text()
    assert {"OPSCENTER_PORT", "EXTERNAL_API_URL", "OPSCENTER_LOG_LEVEL"} <= settings_read()
    assert {"ANTHROPIC_API_KEY", "OPSCENTER_ENV_FILE"} <= names_read_elsewhere()
    assert {"run", "test", "real"} <= set(COMMAND.findall(readme))
    assert "docs/architecture.md" in LINK.findall(readme)
