"""The list of commands as click sees it: each is imported when it is called, and takes the options that all share."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from supervisor.cli.commands import HEADINGS, INSTEAD, Entry
from supervisor.cli.options import shared_options
from supervisor.cli.suggest import words
from supervisor.cli.terminal import PROG
from supervisor.cli.text import clean, closest

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

PACKAGE = "supervisor.cli.commands"


class LazyGroup(click.Group):
    """A group that knows its commands from a table, and imports one at a time."""

    def __init__(self, *args: Any, commands: dict[str, Entry], **others: Any) -> None:
        super().__init__(*args, **others)
        self._entries = commands
        self.params += shared_options()

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """Return the names in the table's order."""
        return list(self._entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None where there is none of that name."""
        if cmd_name not in self.commands and cmd_name in self._entries:
            where, summary = self._entries[cmd_name]
            module, _, function = where.partition(":")
            command = getattr(import_module(f"{PACKAGE}.{module}"), function)
            command.help = command.help or f"{summary[0].upper()}{summary[1:]}."
            self.add_command(_sharing(command), cmd_name)
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command. `"signal HUP" NAME` is three words, as with supervisorctl: Ansible's module says it so.

        `help` and `help COMMAND` are understood as well; of whatever else is no command, it is said what is.
        """
        typed = [*(args[0].split() or args[:1]), *args[1:]]
        if typed[0] == "help":
            typed = [*typed[1:], "--help"]
        if typed == ["--help"]:
            click.echo(ctx.get_help())
            ctx.exit()
        name = typed[0]
        if not ctx.resilient_parsing and not name.startswith("-") and self.get_command(ctx, name) is None:
            raise click.UsageError(f"there is no command {clean(name)!r}; {self._instead(name)}", ctx)
        return super().resolve_command(ctx, typed)

    def _instead(self, name: str) -> str:
        close = closest(name, list(self._entries))
        return INSTEAD.get(name) or (f"did you mean {close}?" if close else f"{PROG} help lists them")

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing any."""
        sections: dict[str, list[tuple[str, str]]] = {}
        heading = "Commands"
        for name, entry in self._entries.items():
            heading = HEADINGS.get(name, heading)
            sections.setdefault(heading, []).append((name, entry.summary))
        widest = max(map(len, self._entries))
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl([(f"{name:<{widest}}", summary) for name, summary in rows])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """Suggest commands and options, without importing any command."""
        known = [(name, entry.summary) for name, entry in self._entries.items()]
        return [*words(known, incomplete), *click.Command.shell_complete(self, ctx, incomplete)]


def _sharing(command: click.Command) -> click.Command:
    """Let it, and what is below it, take the shared options too, so that they may stand before or after its name."""
    known = {param.name for param in command.params}
    command.params += [option for option in shared_options() if option.name not in known]
    for each in command.commands.values() if isinstance(command, click.Group) else ():
        _sharing(each)
    return command
