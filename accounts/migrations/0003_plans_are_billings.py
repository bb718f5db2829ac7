from django.db import migrations


class Migration(migrations.Migration):
    # The plans' codes become subscriptions before their column goes.
    dependencies = [("accounts", "0002_service_keys"), ("billing", "0004_plans")]

    operations = [migrations.RemoveField(model_name="organization", name="plan")]
