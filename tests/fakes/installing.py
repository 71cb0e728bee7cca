"""A host to be installed on: its files are a folder, and its commands are taken down instead of run."""

from pathlib import Path

from supervisor.install.host import SYSTEMD_RUNS, Host


class PretendHost(Host):
    """Knows which groups and users there are, and which command fails with what words."""

    def __init__(self, root: Path, *, groups: dict[str, list[str]] | None = None) -> None:
        super().__init__(root)
        self.at(SYSTEMD_RUNS).mkdir(parents=True)
        self.groups = groups or {}
        self.users: set[str] = set()
        self.fails: dict[str, Exception] = {}  # by a word of the command
        self.ran: list[str] = []

    def run(self, *command: str) -> str:
        """Take down what was to be run."""
        line = " ".join(command)
        self.ran.append(line)
        for word, error in self.fails.items():
            if word in line:
                raise error
        if "-m venv" in line:
            self.write(Path(command[-1]) / "pyvenv.cfg", b"version = 3.11.2\n", 0o644)
        return ""

    def members_of(self, group: str) -> list[str] | None:
        """Return who is in a group."""
        return self.groups.get(group)

    def has_user(self, name: str) -> bool:
        """Whether there is such a user."""
        return name in self.users

    def files(self) -> set[str]:
        """Return every file and link there is."""
        found = (path for path in self.at(Path("/")).rglob("*") if path.is_symlink() or path.is_file())
        return {f"/{path.relative_to(self.at(Path('/')))}" for path in found}
