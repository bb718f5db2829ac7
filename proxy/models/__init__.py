"""The proxy's tables."""

from proxy.models.agents import Agent, Crew, CrewMember
from proxy.models.given import GivenAnswer, GivenPart
from proxy.models.own import OwnCredential
from proxy.models.routes import Route, Upstream

__all__ = [
    "Agent",
    "Crew",
    "CrewMember",
    "GivenAnswer",
    "GivenPart",
    "OwnCredential",
    "Route",
    "Upstream",
]
