"""The dashboard and the alerts: of metrics that are there, and with runbooks that are written."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

import billing.backlog
import mcp.backlog
from opscenter import http_metrics
from opscenter.metrics import Waiting
from proxy import metrics

ROOT = Path(__file__).resolve().parent.parent.parent
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "opscenter.json").read_text())
RULES = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text())
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
NAME = re.compile(r"\bopscenter_\w+")
SAMPLES = {
    "counter": ("_total",),
    "histogram": ("_bucket", "_sum", "_count"),
    "gauge": ("",),
}


def known() -> dict[str, set[str]]:
    """Every metric's samples, each with the labels it has, also where nothing was counted yet."""
    assert metrics and http_metrics
    billing_now = billing.backlog.Backlog(
        open_requests=0, outbox_pending=0, outbox_parked=0, outbox_lag_s=0, alarms=0
    )
    mcp_now = mcp.backlog.Backlog(sessions={"ws": 1}, calls={"queued": 1}, queue_age_s=0)
    found: dict[str, set[str]] = {}
    for family in [*REGISTRY.collect(), *Waiting((billing_now, mcp_now)).collect()]:
        for ending in SAMPLES.get(family.type, ()):
            found[family.name + ending] = {name for one in family.samples for name in one.labels}
    return found


def queries(node: Any) -> Iterator[str]:
    """Every expression in a dashboard."""
    if isinstance(node, dict):
        if "expr" in node:
            yield node["expr"]
        for value in node.values():
            yield from queries(value)
    elif isinstance(node, list):
        for value in node:
            yield from queries(value)


def asked() -> list[str]:
    return [*queries(DASHBOARD), *(rule["expr"] for rule in ALERTS)]


def test_they_ask_for_metrics_that_are_there_and_for_all_of_them() -> None:
    there = known()
    named = {name for query in asked() for name in NAME.findall(query)}
    assert named <= there.keys(), named - there.keys()
    roots = {re.sub(r"_(bucket|sum|count|total)$", "", name) for name in named}
    unseen = {
        name
        for name in there
        if name.startswith("opscenter_")
        and re.sub(r"_(bucket|sum|count|total)$", "", name) not in roots
    }
    assert not unseen, "nobody looks at them"


def test_the_dashboard_is_bound_to_nobodys_prometheus() -> None:
    sources = re.findall(r'"uid": "([^"]*)"', json.dumps(DASHBOARD["panels"]))
    assert set(sources) == {"${datasource}"}
    variables = {one["name"]: one["type"] for one in DASHBOARD["templating"]["list"]}
    assert variables["datasource"] == "datasource"
    used = set(re.findall(r'=~"\$(\w+)"', "".join(queries(DASHBOARD))))
    assert used <= variables.keys()
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("rule", ALERTS, ids=[rule["alert"] for rule in ALERTS])
def test_an_alert_says_how_bad_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert rule["annotations"]["summary"] and rule["annotations"]["description"]
    document, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert document == "docs/operations.md"
    sections = {
        heading.lower().replace(" ", "-"): text.strip()
        for heading, text in re.findall(r"^### (.+)\n((?:(?!#).*\n)*)", OPERATIONS, re.MULTILINE)
    }
    assert rule["alert"] in sections[anchor]


def test_each_metric_stands_in_the_document() -> None:
    written = set(NAME.findall(OPERATIONS))
    missing = {
        name
        for name in known()
        if name.startswith("opscenter_")
        and not {name, re.sub(r"_(bucket|sum|count)$", "", name)} & written
    }
    assert not missing
