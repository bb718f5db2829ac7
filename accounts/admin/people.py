"""Users, groups and organizations in the admin. Whatever is changed leaves a line in the trail."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from accounts import audit, trail
from accounts.models import Identity, Membership, Organization
from accounts.sane import SaneInline
from accounts.trailed import TrailedAdmin, actor

PASSWORD_PAGE = "/password/"  # noqa: S105  (the end of a path)
# Who may change users must not make a superuser of themselves.
OF_SUPERUSERS = ["is_superuser", "user_permissions"]
# What a role may do, beside its name where it is chosen; opscenter/roles.py gives the rights.
ROLES = {
    "viewer": "sees every page and changes nothing",
    "operator": "keeps upstreams, routes, agents, machines, API keys and members",
    "billing": "keeps plans, subscriptions, prices and all else under Billing",
    "owner": "keeps all of it, users and their rights too",
}

admin.site.unregister(User)
admin.site.unregister(Group)


class GroupField(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]  # Django itself is not generic
    """Groups by their names, and the roles among them with what they may do."""

    def label_from_instance(self, group: Model) -> str:
        name = str(group)
        return f"{name}: {ROLES[name]}" if name in ROLES else name


class GrantingAdmin(TrailedAdmin):
    """A page on which rights are given. They are saved after the row itself."""

    grants: tuple[str, ...] = ()

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        was = self._granted(form.instance)
        super().save_related(request, form, formsets, change)
        now = self._granted(form.instance)
        changed = {name: [was[name], now[name]] for name in now if was[name] != now[name]}
        if changed:
            action = f"{form.instance._meta.model_name}.granted"
            told = {"name": str(form.instance), "changed": changed}
            audit.record(action, trail.subject(form.instance), actor(request), None, told)

    def _granted(self, row: Model) -> dict[str, list[str]]:
        return {name: sorted(map(str, getattr(row, name).all())) for name in self.grants}


@admin.register(User)
class UserAdmin(GrantingAdmin, DjangoUserAdmin):  # type: ignore[type-arg,misc]  # not generic; unfold has no types
    """People."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    add_fieldsets = DjangoUserAdmin.add_fieldsets  # unfold hides them behind none
    filter_horizontal = ()  # two boxes side by side are wider than a laptop's page
    grants = ("groups", "user_permissions")

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        own = {"form_class": GroupField} if db_field.name == "groups" else {}
        return super().formfield_for_manytomany(db_field, request, **own, **kwargs)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        found = super().get_readonly_fields(request, obj)
        return found if _is_superuser(request) else [*found, *OF_SUPERUSERS]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and _may_touch(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and _may_touch(request, obj)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> Any:  # noqa: A002  (Django's name)
        if id.isdecimal() and Identity.objects.filter(user_id=int(id)).exists():
            raise PermissionDenied("They sign in at Keycloak and have no password here.")
        return super().user_change_password(request, id, form_url)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        if request.path.endswith(PASSWORD_PAGE):
            told = {"name": str(obj)}
            audit.record("user.password", trail.subject(obj), actor(request), None, told)
        return super().log_change(request, obj, message)


@admin.register(Group)
class GroupAdmin(GrantingAdmin, DjangoGroupAdmin):  # type: ignore[misc]  # unfold has no types
    """Groups of staff. Those that are roles get their permissions anew at each start."""

    filter_horizontal = ()
    grants = ("permissions",)


class Members(SaneInline):
    """Who belongs to the organization."""

    model = Membership
    autocomplete_fields = ["user"]
    extra = 0


@admin.register(Organization)
class OrganizationAdmin(TrailedAdmin):
    """Tenants and their members."""

    list_display = ["name", "external_id", "id", "created_at"]
    search_fields = ["name", "external_id"]
    search_help_text = "Name, here or at Keycloak"
    fields = ["name", "issuer", "external_id", "id", "created_at"]
    readonly_fields = ["id", "created_at"]
    inlines = [Members]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        # Whose token has these names is a member.
        found = super().get_readonly_fields(request, obj)
        may = request.user.has_perm("accounts.change_membership")
        return found if may else [*found, "issuer", "external_id"]


def _is_superuser(request: HttpRequest) -> bool:
    return isinstance(request.user, User) and request.user.is_superuser


def _may_touch(request: HttpRequest, user: Any) -> bool:
    """A superuser's password or address would be the way to become one."""
    return _is_superuser(request) or not (user and user.is_superuser)
