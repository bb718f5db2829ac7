from datetime import UTC, datetime
from pathlib import Path

from django.db import migrations

from billing import pricefile

SHIPPED = Path(__file__).parents[1] / "list_prices.json"


def seed(apps, schema_editor):
    """Add the list as this version ships it. Later ones come by `manage.py importprices --shipped`."""
    entries, problems = pricefile.read(SHIPPED.read_bytes(), now=datetime.now(UTC))
    if problems:
        raise pricefile.PriceListError(problems)
    price = apps.get_model("billing", "Price")
    # Only the columns of this migration's time; an organization of one installation is in no list.
    price.objects.bulk_create(
        price(
            pattern=entry.price.pattern,
            upstream=entry.price.upstream,
            input_nano=entry.price.input_nano,
            output_nano=entry.price.output_nano,
            cache_read_nano=entry.price.cache_read_nano,
            cache_write_5m_nano=entry.price.cache_write_5m_nano,
            cache_write_1h_nano=entry.price.cache_write_1h_nano,
            server_tool_nano=entry.price.server_tool_nano,
            multiplier_ppm=entry.price.multiplier_ppm,
            is_default=entry.price.is_default,
            valid_from=entry.price.valid_from,
            valid_until=entry.price.valid_until,
            source=entry.source,
        )
        for entry in entries
    )


class Migration(migrations.Migration):
    dependencies = [("billing", "0004_plans")]

    operations = [migrations.RunPython(seed, migrations.RunPython.noop)]
