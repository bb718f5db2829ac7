"""How it all runs: settings, the ASGI entry, URLs, health and first set-up."""
