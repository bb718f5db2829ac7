"""What stops a server before it starts."""

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from billing.models import Plan
from tests.gateway import free_port


@pytest.mark.django_db
def test_it_does_not_start_with_a_default_plan_that_is_not_there(settings: Settings) -> None:
    Plan.objects.all().delete()
    Plan.objects.create(code="gold", name="Gold")
    settings.DEFAULT_PLAN, settings.PORT = "glod", free_port()
    says = r"OPSCENTER_DEFAULT_PLAN: no plan has the code 'glod'; it may be: gold, none"
    with pytest.raises(CommandError, match=says):
        call_command("serve")
