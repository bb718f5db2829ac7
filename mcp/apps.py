"""The app's place in Django."""

from django.apps import AppConfig


class McpConfig(AppConfig):
    name = "mcp"
    verbose_name = "Machines"
