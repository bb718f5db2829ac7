"""Which token's organizations hold: the newest one's."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0004_keycloak"),
    ]

    operations = [
        migrations.AddField(
            model_name="identity",
            name="claimed_at",
            field=models.BigIntegerField(
                db_default=0,
                default=0,
                editable=False,
                help_text="Seconds since 1970, as tokens count.",
            ),
        ),
    ]
