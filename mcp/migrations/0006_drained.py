"""An operator can let a machine go."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("mcp", "0005_steps"),
    ]

    operations = [
        migrations.AddField(
            model_name="connector",
            name="drained_at",
            field=models.DateTimeField(
                editable=False,
                help_text="An operator lets it end what it has, and gives no more.",
                null=True,
            ),
        ),
    ]
