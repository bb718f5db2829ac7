"""The page that Lago calls, below /api/v1/."""

from django.urls import re_path

from billing import lago_views

urlpatterns = [re_path(r"^lago/webhooks/?$", lago_views.webhook, name="lago-webhooks")]
