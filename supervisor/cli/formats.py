"""The same facts for machines: JSON as the daemon words it, or a line of tab-separated values for each thing."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import click

from supervisor.cli.text import clean

C = TypeVar("C", bound=Callable[..., int])

TABLE, JSON, TSV = "table", "json", "tsv"


def format_option(*forms: str) -> Callable[[C], C]:
    """Return the option that chooses one of the forms; the first is meant where nothing is said."""
    return click.option(
        "-f",
        "--format",
        "form",
        type=click.Choice(forms),
        default=forms[0],
        metavar="FORMAT",
        help=f"{', '.join(forms[:-1])} or {forms[-1]} ({forms[0]}).",
    )


def as_json(document: Any) -> str:
    """Return a document; ASCII alone, so that a server's words in it can do no harm to a terminal."""
    return json.dumps(document, indent=2)


def as_tsv(columns: Sequence[str], things: Iterable[dict[str, Any]]) -> list[str]:
    """Return a line with the columns' names and one for each thing; what is not known is left empty."""
    return ["\t".join(columns), *("\t".join(_word(thing.get(each)) for each in columns) for thing in things)]


def _word(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case list():
            return ",".join(_word(each) for each in value)
        case None:
            return ""
        case _:
            return clean(str(value))
