"""Every command: where it is, and what it does in a few words. Help and completion read this, and import none of them.

A name stands for `module:function` in this package.
"""

from typing import NamedTuple


class Entry(NamedTuple):
    """Where a command is, as `module:function`, and what the list of commands says of it."""

    where: str
    summary: str


COMMANDS = {
    "status": Entry("status:status", "one line per target: state, pid, uptime, and whether it really answers"),
    "why": Entry("why:why", "the story of one target: what is believed, why, and what comes next"),
    "tail": Entry("tail:tail", "what a target printed last, and with -f what it prints"),
    "history": Entry("history:history", "what became of targets and what was done to them, the newest last"),
    "pid": Entry("pid:pid", "the daemon's process id, or those of targets"),
    "incident": Entry("incident:incident", "what went wrong, why, and what became of it: list, show, export"),
    "simulate": Entry("simulate:simulate", "judge once more what was recorded of an incident, with other values"),
    "start": Entry("act:start", "start targets, and wait until they answer"),
    "stop": Entry("act:stop", "stop targets; they stay stopped until someone starts them"),
    "restart": Entry("act:restart", "stop and start targets, and wait until they answer"),
    "probe": Entry("probe:probe", "one real request now: to targets, or with --url to any server, without a daemon"),
    "drain": Entry("drain:drain", "take targets out of rotation and leave them running"),
    "signal": Entry("signal:signal", "send targets a signal, such as HUP; what ends by it is started again"),
    "hold": Entry("hold:hold", "keep the supervisor from restarting targets; it goes on watching them"),
    "release": Entry("hold:release", "end a hold, or put back what is drained"),
    "pause": Entry("pause:pause", "hold every target, those that are held already too"),
    "resume": Entry("pause:resume", "end the pause; holds on single targets stand"),
    "reread": Entry("reload:reread", "how the settings file differs from what the daemon goes by; changes nothing"),
    "update": Entry("reload:update", "go by the settings file as it is now; only what differs is touched"),
    "reload": Entry("reload:reload", "the same, for everything; unlike supervisorctl's, nothing is restarted"),
    "add": Entry("reload:add", "watch targets that are new in the settings file"),
    "remove": Entry("reload:remove", "watch targets no more that are not in the settings file any more"),
    "install": Entry("install:install", "put the supervisor on this host as a service, or upgrade it"),
    "uninstall": Entry("install:uninstall", "take it off again; settings and state stay"),
    "doctor": Entry("doctor:doctor", "what stands in the way on this machine, each with its cure"),
    "check-config": Entry("check_config:check_config", "what is wrong with a settings file, and nothing else"),
    "completion": Entry(
        "completion:completion", "what bash, zsh or fish needs in order to complete commands and names"
    ),
    "version": Entry("version:version", "of this program and of the daemon"),
}

# The list of commands is divided: before each of these stands a heading.
HEADINGS = {
    "status": "See how it is",
    "start": "Do something",
    "hold": "Have it left alone",
    "reread": "Change the settings",
    "install": "Set it up, and find what is in its way",
}

# Commands of supervisorctl's that there are none of here, and what does instead.
INSTEAD = {
    "avail": "status names all that is watched, and reread what the settings file has besides",
    "clear": "logs are their engine's, which keeps them short; tail -n 0 -f NAME shows what is new",
    "exit": "there is no shell to leave here",
    "fg": "tail -f NAME shows what it prints",
    "maintail": "the daemon's own log is kept by what runs it: journalctl -u benchai-supervisor, or docker logs",
    "open": "--server and --host name another daemon",
    "quit": "there is no shell to leave here",
    "shutdown": "end the daemon by what runs it, such as systemctl stop benchai-supervisor; the models run on",
}
