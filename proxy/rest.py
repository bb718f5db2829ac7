"""The REST pages about routes and about organizations' own credentials."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from asgiref.sync import async_to_sync
from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.exceptions import APIException, NotFound, PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import rates, sealed
from accounts.described import described, shape
from accounts.keeping import RULERS
from accounts.models import Organization
from accounts.principal import MESSAGES
from accounts.rest import HasScope, bound
from accounts.serializers import Strict, Text
from accounts.views import KeyPage
from proxy import credentials, probe, table
from proxy.explain import NOBODY
from proxy.models import OwnCredential
from proxy.validators import CREDENTIAL_CHARS, plain_credential

TAG = "Own credentials"
EXPLAINS = "proxy.view_route"  # with it, staff may ask for any organization
NOT_SET_UP = "This gateway is not set up to store credentials. Ask its operator to do it."


class NotSetUpError(APIException):
    """The operator has not set what this needs."""

    status_code = 503
    default_code = "not_set_up"


class Where(Strict):
    """For which organization."""

    organization = serializers.UUIDField(
        default=None, help_text="For people in several organizations; without it, their oldest."
    )


class NewCredential(Where):
    """The body that stores a credential."""

    credential = Text(
        max_length=CREDENTIAL_CHARS, trim_whitespace=False, validators=[plain_credential]
    )


class Asked(Where):
    """What a route is explained for."""

    model = Text(max_length=256)
    session = Text(max_length=256, default="", allow_blank=True)


OWN = shape(
    "OwnCredential",
    upstream=serializers.CharField(),
    kind=serializers.CharField(),
    organization=serializers.UUIDField(),
    fingerprint=serializers.CharField(),
    updated_at=serializers.DateTimeField(),
)
OWNS = shape(
    "OwnCredentials",
    results=serializers.ListField(child=OWN),
    upstreams=serializers.ListField(
        child=shape(
            "UpstreamThatTakesOne", upstream=serializers.CharField(), kind=serializers.CharField()
        )
    ),
)
FINDING = shape(
    "OwnCredentialFinding",
    ok=serializers.BooleanField(),
    text=serializers.CharField(),
    credential=serializers.CharField(),
    models=serializers.ListField(child=serializers.CharField()),
    model_count=serializers.IntegerField(),
    ms=serializers.IntegerField(),
)
EXPLAINED = shape(
    "RouteExplained",
    model=serializers.CharField(),
    chosen=serializers.DictField(allow_null=True),
    reason=serializers.CharField(),
    candidates=serializers.ListField(child=serializers.DictField()),
)


def _shown(own: OwnCredential) -> dict[str, Any]:
    return {
        "upstream": own.upstream.name,
        "kind": own.upstream.kind,
        "organization": str(own.organization_id),
        "fingerprint": own.fingerprint,
        "updated_at": own.updated_at,
    }


class OwnPage(KeyPage):
    """What the pages about organizations' own credentials share."""

    def organization_of(self, wanted: UUID | None) -> UUID:
        """A key's own; a person's own; any, where staff ask."""
        user = self.user()
        if user.is_staff and self.principal() is None and user.has_perm(EXPLAINS):
            if wanted and not Organization.objects.filter(id=wanted).exists():
                raise ValidationError({"organization": ["There is none with this id."]})
            return wanted or NOBODY
        mine = self.memberships().order_by("created_at", "id")
        membership = mine.filter(organization=wanted).first() if wanted else mine.first()
        if membership is None:
            raise ValidationError({"organization": ["You are not a member of it, or of any."]})
        return membership.organization_id

    def mine(self) -> QuerySet[Organization]:
        """The caller's organizations."""
        return Organization.objects.filter(pk__in=self.memberships().values("organization"))

    def ruled(self, wanted: UUID | None) -> Organization:
        """The organization whose credentials the caller may change."""
        mine = self.memberships().select_related("organization").order_by("created_at", "id")
        # One that does not exist and one of somebody else get the same answer.
        membership = mine.filter(organization=wanted).first() if wanted else mine.first()
        if membership is None:
            raise ValidationError({"organization": ["You are not a member of it, or of any."]})
        if membership.role not in RULERS:
            raise PermissionDenied("Only its owner or an admin may change these credentials.")
        return membership.organization

    def own(self, request: Request, name: str) -> OwnCredential:
        """The stored credential that the address and the query name."""
        asked = Where(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        rows = OwnCredential.objects.select_related("upstream", "organization")
        organization = self.ruled(asked.validated_data["organization"])
        found = rows.filter(organization=organization, upstream__name=name).first()
        if found is None:
            raise NotFound(f"{organization.name} has stored no credential for {name[:50]!r}.")
        return found


class OwnCredentials(OwnPage):
    """List the credentials of one's organizations, and the upstreams that take one."""

    @described(
        "own_credentials_list",
        tag=TAG,
        summary="List own credentials",
        gives=OWNS,
    )
    def get(self, request: Request) -> Response:
        rows = OwnCredential.objects.filter(organization__in=self.mine())
        rows = rows.select_related("upstream").order_by("upstream__name", "organization_id")
        takes = credentials.open_to(self.mine()).values("name", "kind")
        return Response(
            {
                "results": [_shown(own) for own in rows],
                "upstreams": [{"upstream": row["name"], "kind": row["kind"]} for row in takes],
            }
        )


class OwnCredentialDetail(OwnPage):
    """Store a credential, or remove it."""

    @described(
        "own_credentials_store",
        tag=TAG,
        summary="Store a credential for an upstream",
        body=NewCredential,
        gives=OWN,
        refuses=(404,),
    )
    def put(self, request: Request, name: str) -> Response:
        body = NewCredential(data=request.data)
        body.is_valid(raise_exception=True)
        organization = self.ruled(body.validated_data["organization"])
        takes = credentials.open_to([organization])
        upstream = takes.filter(name=name).first()
        if upstream is None:
            known = ", ".join(takes.order_by("name").values_list("name", flat=True)) or "none"
            raise NotFound(f"No upstream {name[:50]!r} takes a credential; these do: {known}.")
        credential = body.validated_data["credential"]
        try:
            own = credentials.store_own(organization, upstream, credential, self.actor())
        except sealed.SealedError as error:
            raise NotSetUpError(NOT_SET_UP) from error
        return Response(_shown(own))

    @described(
        "own_credentials_forget",
        tag=TAG,
        summary="Remove a credential",
        query=Where,
        status=204,
        refuses=(404,),
    )
    def delete(self, request: Request, name: str) -> Response:
        credentials.forget_own(self.own(request, name), self.actor())
        return Response(status=204)


class OwnCredentialTest(OwnPage):
    """Ask the upstream whether it takes the stored credential."""

    @described(
        "own_credentials_test",
        tag=TAG,
        summary="Ask the upstream whether it takes the stored credential",
        query=Where,
        gives=FINDING,
        refuses=(404,),
    )
    def post(self, request: Request, name: str) -> Response:
        own = self.own(request, name)
        organization, upstream = own.organization, own.upstream
        if not credentials.open_to([organization]).filter(pk=upstream.pk).exists():
            raise ValidationError({"upstream": ["No route leads you there at present."]})
        try:
            credential = sealed.opened(own.credential_sealed)
        except sealed.SealedError as error:
            raise NotSetUpError(NOT_SET_UP) from error
        bound(
            rates.OWN_CREDENTIAL_TESTS, organization.pk, "Credentials of an organization are tested"
        )
        config = replace(table.config_of(upstream), credential=credential, problem="")
        finding = async_to_sync(probe.tested)(config)
        return Response(
            {
                "ok": finding.ok,
                "text": finding.text,
                "credential": finding.credential,
                "models": list(finding.models),
                "model_count": finding.count,
                "ms": finding.ms,
            }
        )


class Explanation(OwnPage):
    """Say which upstream would answer the caller for a model, and why."""

    permission_classes = [HasScope(MESSAGES)]

    @described(
        "routes_explain",
        tag="Routes",
        summary="Say which upstream would answer for a model, and why",
        query=Asked,
        gives=EXPLAINED,
    )
    def get(self, request: Request) -> Response:
        asked = Asked(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        wanted = asked.validated_data
        organization = self.organization_of(wanted["organization"])
        told = async_to_sync(table.explain)(wanted["model"], organization, wanted["session"])
        return Response(told)
