"""`check-config`: what is wrong with a settings file, without a daemon, an engine or a network."""

import sys
from pathlib import Path

import click

from supervisor.cli.formats import JSON, TABLE, as_json, format_option
from supervisor.cli.terminal import OK, put, say

WRONG = 2  # as benchai-supervisord --check has it
FILE = click.Path(path_type=Path)


@click.command("check-config")
@click.argument(
    "file",
    metavar="[FILE]",
    required=False,
    type=FILE,
    help="The file (the first there is of $BENCHAI_SUPERVISOR_SETTINGS, ./settings.toml and the one in /etc).",
)
@format_option(TABLE, JSON)
def check_config(file: Path | None, *, form: str) -> int:
    """Say what is wrong with the settings; nothing else is looked at.

    The environment counts, as it does for the daemon. Exits with 0 where they are good, 2 where they are not.
    """
    from supervisor.settings_check import check

    checked = check(file)
    if form == JSON:
        put(as_json({"file": str(checked.path), "good": checked.settings is not None, "problems": checked.problems}))
    elif checked.settings is not None:
        say(checked.words)
    else:
        sys.stderr.write(f"{checked.words}\n")
    return OK if checked.settings is not None else WRONG
