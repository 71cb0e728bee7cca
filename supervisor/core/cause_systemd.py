"""The sentences of our engine for systemd, and those of systemd's that it passes on. Pure."""

from supervisor.core.cause import Cause, sign

PROGRAM = r"(?P<name>[^\s\"'=]{1,120})"
SEE_THE_STATUS = (
    "see `systemctl status` for what is wrong with it; after a change to the unit, `systemctl daemon-reload`"
)

SYSTEMD_SIGNS = (
    sign(
        Cause.BAD_FLAG,
        rf"cannot execute '{PROGRAM}'",
        "its program {name} cannot be run",
        "install the program, make it executable, or correct ExecStart= in its unit",
    ),
    sign(
        Cause.BAD_FLAG,
        r"systemd could not set it up: (?P<what>\d{3}/[A-Z_]{2,30})",
        "systemd could not set it up: {what}",
        "correct its unit (systemd.exec(5) tells what the number stands for), then `systemctl daemon-reload`",
    ),
    sign(
        Cause.BAD_FLAG,
        r"systemd cannot use its unit file|has a bad unit file setting",
        "systemd cannot use its unit file",
        SEE_THE_STATUS,
    ),
    sign(
        Cause.BAD_FLAG,
        r"a condition of the unit does not hold",
        "a condition of its unit does not hold",
        SEE_THE_STATUS,
    ),
    sign(
        Cause.UNKNOWN,
        r"a unit that it needs has failed",
        "a unit that it needs has failed",
        "see `systemctl list-dependencies` for which, and mend that one first",
        helps_restart=True,
    ),
    sign(
        Cause.UNKNOWN,
        r"systemd did not [^\n]{1,300}: we are not allowed to",
        "systemd does not let us",
        "run the supervisor as root, or give its user the polkit rule for this unit (docs/systemd.md)",
    ),
    sign(
        Cause.ENGINE_LOST,
        r"systemd did not [^\n]{1,300}(?:no answer at |; it hangs, or the system bus does)|the system bus went away",
        "systemd does not answer",
        "see whether `systemctl status` and `busctl status` do; a hung system bus may take a reboot",
    ),
    sign(
        Cause.HUNG,
        r"systemd ended it: no watchdog ping within (?P<seconds>[\d.]{1,12})s",
        "it gave systemd no sign of life for {seconds}s",
    ),
    sign(
        Cause.NEVER_READY,
        r"systemd ended it: not ready within its TimeoutStartSec \((?P<seconds>[\d.]{1,12})s\)",
        "not ready within the {seconds}s that systemd gives it",
        "if it needs longer to load, raise TimeoutStartSec= in its unit",
        helps_restart=True,
    ),
    sign(
        Cause.UNKNOWN,
        rf"what runs before it failed: {PROGRAM} \((?P<code>\d{{1,3}})\)",
        "what its unit runs before it failed: {name} ({code})",
        "see its log; it is ExecStartPre= or ExecCondition= of the unit",
        helps_restart=True,
    ),
)
