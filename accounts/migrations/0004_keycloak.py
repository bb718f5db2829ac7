"""People of Keycloak, their sessions there, and organizations as tokens name them."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0003_plans_are_billings"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Identity",
            fields=[
                (
                    "id",
                    models.CharField(
                        editable=False, max_length=12, primary_key=True, serialize=False
                    ),
                ),
                ("issuer", models.CharField(max_length=255)),
                ("subject", models.CharField(max_length=255)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("seen_at", models.DateTimeField(help_text="The last sign-in.", null=True)),
                ("ended_at", models.DateTimeField(editable=False, null=True)),
            ],
            options={
                "verbose_name_plural": "identities",
            },
        ),
        migrations.CreateModel(
            name="OidcSession",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("sid", models.CharField(max_length=255)),
                (
                    "session_key",
                    models.CharField(blank=True, db_default="", default="", max_length=40),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("ended_at", models.DateTimeField(null=True)),
            ],
        ),
        migrations.AddField(
            model_name="membership",
            name="by_claims",
            field=models.BooleanField(
                db_default=False,
                default=False,
                editable=False,
                help_text="It came with a sign-in at Keycloak, and goes with one that names it no more.",
            ),
        ),
        migrations.AddField(
            model_name="organization",
            name="external_id",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="As Keycloak's tokens name it; whoever's token does is a member.",
                max_length=200,
            ),
        ),
        migrations.AddField(
            model_name="organization",
            name="issuer",
            field=models.CharField(blank=True, db_default="", default="", max_length=255),
        ),
        migrations.AddConstraint(
            model_name="organization",
            constraint=models.UniqueConstraint(
                condition=models.Q(("external_id", ""), _negated=True),
                fields=("issuer", "external_id"),
                name="one_organization_by_each_name",
            ),
        ),
        migrations.AddField(
            model_name="identity",
            name="user",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="identities",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="oidcsession",
            name="identity",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="sessions",
                to="accounts.identity",
            ),
        ),
        migrations.AddConstraint(
            model_name="identity",
            constraint=models.UniqueConstraint(
                fields=("issuer", "subject"), name="one_identity_each"
            ),
        ),
        migrations.AddConstraint(
            model_name="oidcsession",
            constraint=models.UniqueConstraint(
                fields=("identity", "sid", "session_key"), name="one_oidc_session_each"
            ),
        ),
    ]
