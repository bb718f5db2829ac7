"""The proxy's pages in the admin."""

from proxy.admin import agents, routes

__all__ = ["agents", "routes"]
