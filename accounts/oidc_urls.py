"""The sign-in at Keycloak, and what Keycloak itself posts to."""

from django.urls import path

from accounts.oidc import Begin, Callback
from accounts.sessions import logged_out

urlpatterns = [
    path("authenticate/", Begin.as_view(), name="oidc_authentication_init"),
    path("callback/", Callback.as_view(), name="oidc_authentication_callback"),
    path("backchannel-logout/", logged_out, name="oidc_backchannel_logout"),
]
