"""`completion`: what a shell needs in order to complete our commands, targets and incidents."""

import click

from supervisor.cli.terminal import COMPLETE_VARIABLE, OK, PROG, put

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS), metavar="SHELL", help="bash, zsh or fish.")
def completion(shell: str) -> int:
    """What a shell needs in order to complete commands, targets and incidents.

    \b
    For one session of bash or zsh: eval "$(benchai-supervisorctl completion bash)"
    For one session of fish:        benchai-supervisorctl completion fish | source
    For good, and for everybody:
      benchai-supervisorctl completion bash > /etc/bash_completion.d/benchai-supervisorctl
      benchai-supervisorctl completion zsh > /usr/local/share/zsh/site-functions/_benchai-supervisorctl
      benchai-supervisorctl completion fish > /etc/fish/completions/benchai-supervisorctl.fish
    """
    from click.shell_completion import get_completion_class

    from supervisor.cli.program import supervisorctl

    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"click knows no completion for {shell}")
    put(found(supervisorctl, {}, PROG, COMPLETE_VARIABLE).source().rstrip("\n"))
    return OK
