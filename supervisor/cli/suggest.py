"""What a shell may complete a word to: targets and incidents that the running daemon knows, files, commands.

A person waits with a finger on Tab: where the daemon does not answer at once, there is nothing to suggest, and no word
about it, since the shell would print it into the command line.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from supervisor.cli.text import clean
from supervisor.errors import SupervisorError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from supervisor.cli.http import Daemon

    Suggest = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

ANSWER_S = 0.5
MOST_INCIDENTS = 20
ALL = ("all", "every target")

Known = Iterable[tuple[str, str]]  # words, and what they stand for


def targets(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Suggest the targets that are not named on the line yet."""
    return _suggest(ctx, param, incomplete, _targets)


def targets_or_all(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Suggest the targets that are not named on the line yet, and all of them together."""
    return _suggest(ctx, param, incomplete, lambda daemon: [*_targets(daemon), ALL])


def incidents(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Suggest the newest incidents, and targets, which stand for their newest."""
    return _suggest(ctx, param, incomplete, lambda daemon: [*_targets(daemon), *_incidents(daemon)])


def files(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":  # noqa: ARG001
    """Leave it to the shell, which knows its files."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def words(known: Known, incomplete: str) -> "list[CompletionItem]":
    """Return those that begin as what has been typed, with what they stand for."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(word, help=clean(meaning)) for word, meaning in known if word.startswith(incomplete)]


def _suggest(
    ctx: click.Context, param: click.Parameter, incomplete: str, ask: "Callable[[Daemon], Known]"
) -> "list[CompletionItem]":
    from supervisor.cli.options import daemon

    said = ctx.params.get(param.name or "") or ()
    with suppress(SupervisorError, click.UsageError, KeyError, TypeError):  # of a stranger anything may be missing
        return words([each for each in ask(daemon(ctx, answer_s=ANSWER_S)) if each[0] not in said], incomplete)
    return []


def _targets(daemon: "Daemon") -> Known:
    return [(clean(each["name"]), each["state"]) for each in daemon.status().content["targets"]]


def _incidents(daemon: "Daemon") -> Known:
    newest = daemon.incidents(target=None, limit=MOST_INCIDENTS).content["incidents"]
    return [(clean(each["id"]), f"{' '.join(each['targets'])}: {each['cause'] or 'not known'}") for each in newest]
