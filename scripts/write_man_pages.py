"""Write packaging/man/ from what the commands themselves say of their options: `--help` and manual are one text.

With --check, say whether the pages are current. docutils turns reStructuredText into the manual's own language.
"""

import re
import sys
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path
from textwrap import indent
from typing import NamedTuple

import click
from docutils.core import publish_string

from supervisor import __version__, supervisord
from supervisor.cli import program
from supervisor.command_line import Notes

FOLDER = Path(__file__).resolve().parent.parent / "packaging" / "man"
ASIDE = "  "  # what is said of a term stands below it


class Page(NamedTuple):
    """What one manual page is about; `notes` are what `--help` has below the options."""

    name: str
    section: int
    command: click.Command
    notes: Notes
    see_also: str


PAGES = (
    Page("benchai-supervisorctl", 1, program.supervisorctl, program.NOTES, "benchai-supervisord(8)"),
    Page("benchai-supervisord", 8, supervisord.supervisord, supervisord.NOTES, "benchai-supervisorctl(1)"),
)


def roff(page: Page) -> str:
    """Return the page in the language of manuals."""
    settings = {"input_encoding": "unicode", "output_encoding": "unicode", "report_level": 2, "halt_level": 2}
    written = str(publish_string("\n".join(_page(page)), writer="manpage", settings_overrides=settings))
    return re.sub(r"(?m)^(\.SH .*\n)\.sp\n", r"\1", written)  # a heading has its distance already


def _page(page: Page) -> Iterator[str]:
    """Yield the lines of its reStructuredText."""
    context = click.Context(page.command, info_name=page.name, **page.command.context_settings)
    summary = _words(page.command.help).partition("\n")[0].rstrip(".")
    title, subtitle = "=" * len(page.name), "-" * len(summary)
    yield from (title, page.name, title, "", subtitle, f"{summary[0].lower()}{summary[1:]}", subtitle, "")
    yield from (f":Manual section: {page.section}", ":Manual group: benchai-supervisor", f":Version: {__version__}", "")
    yield from _heading("Synopsis")
    yield from (f"{_usage(context, page.name)}", "")
    yield from _heading("Description")
    yield from (_words(page.command.help), "")
    if isinstance(page.command, click.Group):
        yield from _heading("Commands")
        yield "Every command takes the options below too, before or after its name."
        yield ""
        for name in page.command.list_commands(context):
            yield from _command(page.command, context, name)
    yield from _heading("Options")
    yield from _parameters(page.command, context)
    for heading, rows in page.notes.items():
        yield from _heading(heading)
        for term, words in rows:
            yield from (f"**{_escaped(term)}**", indent(_escaped(words), ASIDE), "")
    yield from _heading("See also")
    yield _escaped(page.see_also)


def _command(group: click.Group, above: click.Context, name: str) -> Iterator[str]:
    """Yield what there is to say about a command, and about those below it."""
    command = group.get_command(above, name) or click.Command(name)
    context = click.Context(command, info_name=name, parent=above)
    full_name = " ".join(context.command_path.split(" ")[1:])
    yield _usage(context, full_name)
    body = [_words(command.help), "", *_parameters(command, context, without=group)]
    yield indent("\n".join(body), ASIDE)
    yield ""
    if isinstance(command, click.Group):
        for each in command.list_commands(context):
            yield from _command(command, context, each)


def _parameters(command: click.Command, context: click.Context, *, without: click.Group | None = None) -> Iterator[str]:
    """Yield the arguments and options, without those that every command takes."""
    known = [param.opts for param in without.get_params(context)] if without else []
    for param in command.get_params(context):
        record = None if param.opts in known else param.get_help_record(context)
        if record:
            term, words = record
            yield from (f"{_marked(term)}", indent(_escaped(words), ASIDE), "")


def _usage(context: click.Context, name: str) -> str:
    pieces = [each for each in context.command.collect_usage_pieces(context) if each != "[OPTIONS]"]
    options = ["[*OPTIONS*]"] if context.parent is None else []
    return " ".join([f"**{_escaped(name)}**", *options, *(_marked(each) for each in pieces)])


def _marked(term: str) -> str:
    """Return options in bold, and what stands for something else in italics."""
    bold = re.sub(r"(?<![\w-])(-{1,2}[a-z][a-z-]*)", r"**\1**", _escaped(term))
    return re.sub(r"\b([A-Z]{2,}|N)\b", r"\\ *\1*\\ ", bold)  # a backslash and a blank are nothing, and set it off


def _words(text: str | None) -> str:
    r"""Return a docstring as paragraphs; one that begins with \b keeps its lines."""
    told = []
    for paragraph in cleandoc(text or "").split("\n\n"):
        if paragraph.startswith("\b"):
            told.append("\n".join(f"| {_escaped(line)}" for line in paragraph.splitlines()[1:]))
        else:
            told.append(_escaped(" ".join(paragraph.split())))
    return "\n\n".join(told)


def _heading(text: str) -> Iterator[str]:
    yield from (text.upper(), "=" * len(text), "")


def _escaped(text: str) -> str:
    return re.sub(r"([\\*`|_@]|(?<=[a-z]):(?=//))", r"\\\1", text)


def main() -> int:
    """Write the pages, or say which of them is not current."""
    pages = {FOLDER / f"{page.name}.{page.section}": roff(page) for page in PAGES}
    if "--check" in sys.argv[1:]:
        old = [path.name for path, text in pages.items() if not path.exists() or path.read_text() != text]
        print(f"not current: {', '.join(old)}" if old else "current")
        return 1 if old else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path, text in pages.items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
