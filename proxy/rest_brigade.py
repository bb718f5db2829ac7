"""The REST page that says which agents would answer, and why."""

from typing import Any

from asgiref.sync import async_to_sync
from django.conf import settings
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.described import described, shape
from accounts.principal import MESSAGES
from accounts.rest import HasScope
from accounts.serializers import Text
from proxy import agents, intent, opinion, table
from proxy.agents import AgentConfig, Chosen, NoAgentError
from proxy.intent import Inference
from proxy.rest import OwnPage, Where

MOST_CHARS = 100_000  # of what is judged; more is no question

PREVIEW = shape(
    "BrigadePreview",
    task_type=serializers.CharField(),
    confidence=serializers.FloatField(),
    words=serializers.ListField(child=serializers.CharField()),
    why=serializers.CharField(),
    small_model=serializers.CharField(
        allow_null=True,
        help_text="Who would be asked what it is about, for the rules only guess; null: nobody",
    ),
    kind=serializers.CharField(),
    crew=serializers.CharField(allow_null=True),
    agents=serializers.ListField(
        child=shape(
            "BrigadeAgent",
            slug=serializers.CharField(),
            name=serializers.CharField(),
            model=serializers.CharField(),
            toolsets=serializers.ListField(child=serializers.CharField()),
        )
    ),
)


class Previewed(Where):
    """What is to be judged."""

    prompt = Text(max_length=MOST_CHARS)
    task_type = serializers.ChoiceField(
        choices=intent.TASK_TYPES, required=False, help_text="Instead of what is inferred"
    )


class Preview(OwnPage):
    """Say which agents would answer a prompt, without asking any."""

    permission_classes = [HasScope(MESSAGES)]

    @described(
        "brigade_preview",
        tag="Agents",
        summary="Say which agents would answer a prompt, and why",
        body=Previewed,
        gives=PREVIEW,
    )
    def post(self, request: Request) -> Response:
        asked = Previewed(data=request.data)
        asked.is_valid(raise_exception=True)
        wanted = asked.validated_data
        organization = self.organization_of(wanted["organization"])
        snapshot = async_to_sync(table.current)()
        try:
            chosen = agents.for_task(_inferred(wanted), snapshot, organization)
        except NoAgentError as error:
            raise ValidationError({"prompt": [str(error)]}) from error
        return Response(_told(chosen, snapshot.agent_model))


def _inferred(wanted: dict[str, Any]) -> Inference:
    if task_type := wanted.get("task_type"):
        return Inference(task_type=task_type, confidence=1.0, why="task_type says so.")
    return intent.inferred([{"role": "user", "content": wanted["prompt"]}])


def _told(chosen: Chosen, model: str) -> dict[str, Any]:
    return {
        "task_type": chosen.task_type,
        "confidence": chosen.confidence,
        "words": list(chosen.words),
        "why": chosen.why,
        "small_model": settings.INTENT_MODEL if opinion.is_wanted(chosen) else None,
        "kind": chosen.kind,
        "crew": chosen.crew.slug if chosen.crew else None,
        "agents": [_agent(one, model) for one in chosen.agents],
    }


def _agent(agent: AgentConfig, model: str) -> dict[str, Any]:
    return {
        "slug": agent.slug,
        "name": agent.name,
        "model": agent.model or model,
        "toolsets": [toolset.url for toolset in agent.toolsets],
    }
