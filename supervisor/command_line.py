"""What both commands share: click reads the command line, and its outcome is an exit status in our hands."""

import sys
from collections.abc import Sequence
from textwrap import indent

import click

HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 120}
WIDEST_TERM = 44


def run(command: click.Command, name: str, argv: Sequence[str] | None) -> int:
    """Let `command` do what the command line says; return its exit status, 2 where it is wrong and that has been said.

    Not click's own `main`: that would end the program, and answer a reader that left, and Ctrl-C, in its own way.
    """
    try:
        with command.make_context(name, list(sys.argv[1:] if argv is None else argv)) as context:
            return int(command.invoke(context))
    except click.exceptions.Exit as end:  # help, or the version
        return end.exit_code
    except click.ClickException as wrong:
        wrong.show()
        return wrong.exit_code


class Notes(dict[str, list[tuple[str, str]]]):
    """What stands below the options, in help and manual: by heading, terms and what is said of them."""

    def epilog(self) -> str:
        """Return it as click takes it; a term too wide for its column has its words on the next line."""
        told = []
        for heading, rows in self.items():
            column = min(max(len(term) for term, _ in rows), WIDEST_TERM) + 2
            lines = [
                f"{term:<{column}}{words}" if len(term) < column else f"{term}\n{' ' * column}{words}"
                for term, words in rows
            ]
            # \b keeps the lines as they are.
            told.append(f"\b\n{heading}:\n{indent(chr(10).join(lines), '  ')}")
        return "\n\n".join(told)
