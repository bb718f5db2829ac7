"""The boundary around an agent's commands: what holds them, how one is run, what came of it."""

from opscenter_connector.sandbox.claiming import claimed
from opscenter_connector.sandbox.layers import (
    Canary,
    Ended,
    Layer,
    Limits,
    Outcome,
    SandboxError,
    Standing,
    Swept,
)
from opscenter_connector.sandbox.objections import objection
from opscenter_connector.sandbox.recovering import recover
from opscenter_connector.sandbox.running import run
from opscenter_connector.sandbox.surveying import survey

__all__ = [
    "Canary",
    "Ended",
    "Layer",
    "Limits",
    "Outcome",
    "SandboxError",
    "Standing",
    "Swept",
    "claimed",
    "objection",
    "recover",
    "run",
    "survey",
]
