"""The portal's pages, below /portal/."""

from django.urls import path

from opscenter.portal import claude, home, keys, limits, machine, usage

urlpatterns = [
    path("", home.home, name="portal-home"),
    path("organization/", home.chosen, name="portal-organization"),
    path("keys/", keys.listed, name="portal-keys"),
    path("keys/new/", keys.new, name="portal-keys-new"),
    path("keys/<str:key_id>/rotate/", keys.rotated, name="portal-keys-rotate"),
    path("keys/<str:key_id>/revoke/", keys.revoked, name="portal-keys-revoke"),
    path("claude-code/", claude.connect, name="portal-claude"),
    path("claude-code/seen/", claude.seen, name="portal-claude-seen"),
    path("machine/", machine.connect, name="portal-machine"),
    path("machine/there/", machine.there, name="portal-machine-there"),
    path("usage/", usage.usage, name="portal-usage"),
    path("limits/", limits.limits, name="portal-limits"),
]
