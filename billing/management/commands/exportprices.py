"""All prices as a JSON file."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing import pricelist


class Command(BaseCommand):
    """Write every price, those of the past and of the future too."""

    help = "Write all prices as JSON that importprices takes, to FILE or to stdout."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", nargs="?", default="-", help="- is stdout")

    def handle(self, *args: Any, **options: Any) -> None:
        text = pricelist.exported()
        if options["file"] == "-":
            self.stdout.write(text, ending="")
            return
        try:
            Path(options["file"]).write_text(text, encoding="utf-8")
        except OSError as error:
            raise CommandError(
                f"FILE: {options['file']} cannot be written: {error.strerror}."
            ) from error
