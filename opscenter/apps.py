"""The app that knows all others."""

from urllib.parse import unquote, urlsplit

from django.apps import AppConfig, apps
from django.conf import settings

from accounts import redaction


class OpsCenterConfig(AppConfig):
    name = "opscenter"

    def ready(self) -> None:
        """No log and no error of ours shows a secret that a setting holds."""
        apps.get_app_config("auth").verbose_name = "People"  # as the menu calls that group
        redis = urlsplit(settings.REDIS_URL).password or ""
        redaction.know(
            "settings",
            [
                settings.SECRET_KEY,
                settings.KEY_PEPPER,
                *settings.ENCRYPTION_KEYS,
                settings.METRICS_TOKEN,
                settings.LAGO_API_KEY,
                settings.LAGO_WEBHOOK_SECRET,
                getattr(settings, "OIDC_RP_CLIENT_SECRET", ""),
                settings.DATABASES["default"].get("PASSWORD", ""),
                redis,
                unquote(redis),
            ],
        )
