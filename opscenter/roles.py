"""What staff may do in the admin, by role: four groups that are written, not edited."""

from collections.abc import Iterator, Mapping

from django.contrib.auth.models import Group, Permission
from django.db import transaction

from accounts.identities import GROUPS

ALL = ("add", "change", "delete", "view")
SEE = ("view",)
APPS = ("accounts", "auth", "billing", "mcp", "proxy")

# Everybody sees every page of these apps; nothing that a page shows is a secret.
Rights = Mapping[str, tuple[str, ...]]
MAY: Mapping[str, Rights] = {
    "viewer": {},
    "operator": {
        "proxy": ALL,
        "accounts.apikey": ALL,
        "accounts.organization": ("add", "change"),
        "accounts.membership": ALL,
        "mcp": ALL,
        "billing.alarm": ("delete",),
        "billing.outboxevent": ("change",),
    },
    "billing": {
        "billing": ALL,
        "accounts.organization": ("change",),
    },
    "owner": dict.fromkeys(APPS, ALL),
}
assert MAY.keys() == GROUPS  # noqa: S101  (a role that Keycloak gives must be one of them)


def write() -> None:
    """Give each group exactly its permissions. A repeat changes nothing.

    Not by a migration: the permissions themselves are written after the last one.
    """
    known = {_name_of(one): one for one in _permissions()}
    with transaction.atomic():
        for name, rights in MAY.items():
            group, _ = Group.objects.get_or_create(name=name)
            wanted = {known[one] for one in _wanted(rights, known)}
            if set(group.permissions.all()) != wanted:
                group.permissions.set(wanted)


def _permissions() -> Iterator[Permission]:
    found = Permission.objects.filter(content_type__app_label__in=APPS)
    return found.select_related("content_type").iterator()


def _name_of(one: Permission) -> str:
    """As rights are written above, with the verb behind: `billing.plan view`."""
    model = one.content_type.model
    return f"{one.content_type.app_label}.{model} {one.codename.removesuffix('_' + model)}"


def _wanted(
    rights: Mapping[str, tuple[str, ...]], known: Mapping[str, Permission]
) -> Iterator[str]:
    for name in known:
        model, _, verb = name.partition(" ")
        app = model.partition(".")[0]
        if verb in {*SEE, *rights.get(app, ()), *rights.get(model, ())}:
            yield name
