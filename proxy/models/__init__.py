"""The proxy's tables."""

from proxy.models.agents import Agent, Crew, CrewMember
from proxy.models.routes import OwnCredential, Route, Upstream

__all__ = ["Agent", "Crew", "CrewMember", "OwnCredential", "Route", "Upstream"]
