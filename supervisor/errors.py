"""The exceptions we raise, split by who can do something about them.

SupervisorError
├── EngineUnreachable   time can: the engine did not answer; try again later
├── EngineRefused       it depends: the engine answered "no" (port taken, bad flag, image missing); read the message
├── TargetMissing       a person can: the engine knows nothing by that name
├── SettingsError       a person can: a key in settings.toml or the environment is wrong
├── InstallRefused      a person can: not root, no systemd, no fit Python, a command that failed
└── StartupError        a person can: another daemon runs, a port is taken, a directory cannot be written
"""


class SupervisorError(Exception):
    """Any failure of ours; the message says what was tried, on what, and what to do next."""


class EngineUnreachable(SupervisorError):
    """The engine did not answer in time or not at all."""


class EngineRefused(SupervisorError):
    """The engine answered and would not do it."""


class TargetMissing(SupervisorError):
    """The engine has nothing of that name."""


class SettingsError(SupervisorError):
    """Settings that cannot be used; one line per finding, each naming file, key, value and what would be right."""


class InstallRefused(SupervisorError):
    """It cannot be installed here, or not all of it."""


class StartupError(SupervisorError):
    """The daemon cannot start here and now."""
