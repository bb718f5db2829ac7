"""The account pages, below /api/v1/."""

from django.urls import re_path

from accounts import views

# With and without the slash at the end: a redirect would lose the body of a POST.
KEY = r"^api-keys/(?P<key_id>[0-9a-z]{1,16})"

urlpatterns = [
    re_path(r"^api-keys/?$", views.ApiKeys.as_view(), name="api-keys"),
    re_path(KEY + r"/?$", views.ApiKeyDetail.as_view(), name="api-key"),
    re_path(KEY + r"/rotate/?$", views.ApiKeyRotation.as_view(), name="api-key-rotate"),
]
