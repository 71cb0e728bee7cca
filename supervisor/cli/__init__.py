"""`benchai-supervisorctl`: what an operator asks for, the words that answer, the exit status.

A command's module is imported when it is called, and none takes more than it needs: people and scripts call this in a
hurry.
"""


def main(argv: list[str] | None = None) -> int:
    """Do what the command line says; return the exit status."""
    from supervisor.cli.program import run

    return run(argv)
