"""The policy in effect, and whether somebody can answer where it asks."""

from opscenter_connector import builtinserver
from opscenter_connector.checkup.builtin import SURVEY_S
from opscenter_connector.checkup.steps import OK, WARNING, Finding, Patient, Step
from opscenter_connector.policing import effective


async def policy(patient: Patient) -> Finding:
    """What is decided by whom."""
    settings = patient.config.settings
    layer = await builtinserver.layer_of(settings.local)
    rules = effective.of(settings)
    version = effective.version(rules, layer)
    seen = f"{effective.summary(settings, layer)} (version {version}; status has all of it)"
    if rules.approve_from == ("terminal",):
        return Finding(
            state=WARNING,
            seen=seen,
            why="only this machine's terminal may approve; run as a service it has none, and what "
            "would be asked is refused",
            fix=('approve_from = ["terminal", "gateway"] in [policy]',),
        )
    return Finding(state=OK, seen=seen, why="; ".join(effective.notes(settings)))


STEP = Step(name="policy", check=policy, within_s=SURVEY_S)
