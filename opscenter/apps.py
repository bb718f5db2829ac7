"""The app that knows all others."""

from django.apps import AppConfig


class OpsCenterConfig(AppConfig):
    name = "opscenter"
