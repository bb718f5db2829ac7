"""The admin's login page, which lets nobody try passwords for long."""

import math
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.contrib import admin
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.forms import AuthenticationForm as ModelBackendForm
from django.contrib.auth.views import LoginView
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import resolve_url
from django.urls import reverse
from django.utils import timezone
from unfold.forms import AuthenticationForm

from accounts import rates
from accounts.rest import address_of

SESSION_MOST = timedelta(hours=8)  # then even who never paused signs in again
AT_KEYCLOAK = "oidc_authentication_init"
# A form here may lead on to Keycloak, by a sign-out or by a renewal of the session: browsers hold
# a form's redirects to `form-action` too.
_KEYCLOAK = "{0.scheme}://{0.netloc}".format(urlsplit(settings.OIDC_ISSUER))
FORMS_TO = f"'self' {_KEYCLOAK}" if settings.OIDC_ISSUER else "'self'"
# A page that holds its own style, and takes its script from here or has none.
PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; script-src 'self';"
    f" connect-src 'self'; form-action {FORMS_TO}; base-uri 'none'; frame-ancestors 'none'"
)


class SignInForm(AuthenticationForm):  # type: ignore[misc]  # unfold has no types
    """Name and password. While there were too many tries, even the right ones are refused."""

    retry_in_s = 0  # above 0 when the password was not looked at

    def clean(self) -> Any:
        """Count first and take back after: of many tries at once none slips through between."""
        name = self.cleaned_data.get("username")
        if not name or not self.cleaned_data.get("password"):
            return super().clean()  # no password is tried
        address = address_of(self.request)
        self.retry_in_s = _try(name, address)
        if self.retry_in_s:
            raise ValidationError(_refusal(self.retry_in_s), code="too_often")
        cleaned = super().clean()  # raises where they are wrong
        _succeeded(name, address)
        return cleaned


class PersonalSignInForm(SignInForm):
    """The same for everybody with an account, staff or not."""

    error_messages = ModelBackendForm.error_messages

    def confirm_login_allowed(self, user: Any) -> None:
        ModelBackendForm.confirm_login_allowed(self, user)


class PersonalSignIn(LoginView):
    """Where people come in who have no business in the admin."""

    form_class = PersonalSignInForm
    template_name = "sign_in.html"
    next_page = "portal-home"

    def form_valid(self, form: Any) -> HttpResponse:
        response = super().form_valid(form)
        bound_session(self.request)
        return response

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        wanted = self.get_redirect_url() or resolve_url(self.next_page)
        return super().get_context_data(**more, **_ways(wanted))

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response = super().dispatch(request, *args, **kwargs)
        assert isinstance(response, HttpResponse)  # noqa: S101  (LoginView's base says less)
        response.headers["Content-Security-Policy"] = PAGE_POLICY
        return _with_status(response)


def sign_in(request: HttpRequest) -> HttpResponse:
    """The admin's own view, with the status that belongs to a refusal."""
    wanted = request.GET.get(REDIRECT_FIELD_NAME) or reverse("admin:index")
    response = _with_status(admin.site.login(request, _ways(wanted)))
    if request.user.is_authenticated:
        bound_session(request)
    return response


def bound_session(request: HttpRequest) -> None:
    """End the session at its time, however often it is written until then."""
    if request.session.get("_session_expiry") is None:
        request.session.set_expiry(timezone.now() + SESSION_MOST)


def _ways(wanted: str) -> dict[str, Any]:
    """How people may sign in here, and where they go then: for the pages' templates."""
    query = urlencode({REDIRECT_FIELD_NAME: wanted})
    return {
        "local": settings.LOCAL_ACCOUNTS,
        "keycloak": f"{reverse(AT_KEYCLOAK)}?{query}" if settings.OIDC_ISSUER else "",
    }


def _with_status(response: HttpResponse) -> HttpResponse:
    form = (getattr(response, "context_data", None) or {}).get("form")
    if wait_s := getattr(form, "retry_in_s", 0):
        response.status_code = 429
        response.headers["Retry-After"] = str(wait_s)
    return response


def _try(name: str, address: str) -> int:
    """Count a try. How long to wait if it is one too many, else 0."""
    # Behind a Unix socket there is no address, and everybody would be one.
    by_address = rates.tried(rates.LOGIN_ADDRESS, address) if address else None
    if by_address is not None and by_address.is_over:
        return by_address.resets_in_s
    # Under a name that somebody attacks, an address that has not failed yet has one try: its
    # owner can still come in, and a crowd of addresses has one try each.
    here = rates.tried(rates.LOGIN_NAME_ADDRESS, f"{address} {name}")
    by_name = rates.tried(rates.LOGIN_NAME, name)
    if here is None or by_name is None or not (here.is_over and by_name.is_over):
        return 0
    return by_name.resets_in_s


def _succeeded(name: str, address: str) -> None:
    """Only failures count."""
    rates.allowed_after_all(rates.LOGIN_ADDRESS, address)
    rates.allowed_after_all(rates.LOGIN_NAME_ADDRESS, f"{address} {name}")
    rates.allowed_after_all(rates.LOGIN_NAME, name)


def _refusal(wait_s: int) -> str:
    minutes = math.ceil(wait_s / rates.MINUTE_S)
    when = "in a minute" if minutes == 1 else f"in {minutes} minutes"
    return (
        f"Too many failed sign-ins. Try again {when};"
        " until then not even the right password is taken."
    )
