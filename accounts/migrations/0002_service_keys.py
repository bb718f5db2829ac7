from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="apikey",
            name="is_service",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="A program's key: its limits are its own, not shared with its user's other keys.",
            ),
        ),
        migrations.AddField(
            model_name="apikey",
            name="tags",
            field=models.JSONField(
                blank=True,
                default=list,
                help_text="For requests that bring no x-opscenter-tags.",
            ),
        ),
    ]
