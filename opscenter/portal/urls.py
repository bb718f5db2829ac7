"""The portal's pages, below /portal/."""

from django.urls import path, re_path

from opscenter.portal import claude, home, keys, limits, machine, usage

# No other text is an id of a key, and some that are none are an error to the database.
KEY = r"^keys/(?P<key_id>[0-9a-z]{1,16})"

urlpatterns = [
    path("", home.home, name="portal-home"),
    path("organization/", home.chosen, name="portal-organization"),
    path("keys/", keys.listed, name="portal-keys"),
    path("keys/new/", keys.new, name="portal-keys-new"),
    re_path(rf"{KEY}/rotate/$", keys.rotated, name="portal-keys-rotate"),
    re_path(rf"{KEY}/revoke/$", keys.revoked, name="portal-keys-revoke"),
    path("claude-code/", claude.connect, name="portal-claude"),
    path("claude-code/seen/", claude.seen, name="portal-claude-seen"),
    path("machine/", machine.connect, name="portal-machine"),
    path("machine/there/", machine.there, name="portal-machine-there"),
    path("usage/", usage.usage, name="portal-usage"),
    path("limits/", limits.limits, name="portal-limits"),
]
