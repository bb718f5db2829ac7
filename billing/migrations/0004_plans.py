from django.db import migrations

# With an overdraft, for Claude Code asks for 128,000 tokens of output with each request and uses a
# hundredth of them: reserved in full, two of these plans would never let it begin.
PLANS = {
    "free": {
        "name": "Free",
        "requests_per_minute": 10,
        "requests_per_day": 100,
        "tokens_per_day": 10_000,
        "overdraft": True,
    },
    "starter": {
        "name": "Starter",
        "requests_per_minute": 60,
        "requests_per_day": 1_000,
        "tokens_per_day": 100_000,
        "overdraft": True,
    },
    "pro": {
        "name": "Pro",
        "requests_per_minute": 300,
        "tokens_per_day": 1_000_000,
        "overdraft": True,
    },
    "enterprise": {"name": "Enterprise"},
}

# How Lago and the earlier Ops-Center call them. The last three are for the operator to decide.
ALIASES = {
    "trial": "free",
    "founders_friend": "free",
    "professional": "pro",
    "managed": "pro",
    "vip_founder": "pro",
    "byok": "pro",
    "internal": "enterprise",
}


def seed(apps, schema_editor):
    plans = {
        code: apps.get_model("billing", "Plan").objects.create(code=code, **limits)
        for code, limits in PLANS.items()
    }
    for alias, code in ALIASES.items():
        apps.get_model("billing", "PlanAlias").objects.create(code=alias, plan=plans[code])
    subscription = apps.get_model("billing", "Subscription")
    for organization in apps.get_model("accounts", "Organization").objects.all():
        code = organization.plan.strip().lower().replace("-", "_")
        code = ALIASES.get(code, code)
        # A code that nobody knows gets no subscription, and so the default plan.
        if code in plans:
            subscription.objects.create(organization=organization, plan=plans[code])


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_service_keys"),
        ("billing", "0003_money_and_limits"),
    ]

    operations = [migrations.RunPython(seed, migrations.RunPython.noop)]
