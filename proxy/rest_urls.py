"""The REST pages about routes, own credentials and agents, below /api/v1/."""

from django.urls import re_path

from proxy import rest, rest_brigade

# With and without the slash at the end: a redirect would lose the body of a PUT.
OWN = r"^byok/keys/(?P<name>[-a-zA-Z0-9_]{1,50})"

urlpatterns = [
    re_path(r"^byok/keys/?$", rest.OwnCredentials.as_view(), name="own-credentials"),
    re_path(OWN + r"/?$", rest.OwnCredentialDetail.as_view(), name="own-credential"),
    re_path(OWN + r"/test/?$", rest.OwnCredentialTest.as_view(), name="own-credential-test"),
    re_path(r"^routes/explain/?$", rest.Explanation.as_view(), name="explain-route"),
    re_path(r"^brigade/preview/?$", rest_brigade.Preview.as_view(), name="brigade-preview"),
]
