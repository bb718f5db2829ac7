"""The proxy's pages in the admin; importing them registers them."""

from proxy.admin import agents, routes

__all__ = ["agents", "routes"]
