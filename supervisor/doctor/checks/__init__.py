"""Every check by its family's name, in the order in which one would look; each is a file here."""

from supervisor.doctor.checks import (
    aliases,
    clock,
    daemons,
    disk,
    engine,
    gpu,
    keys,
    liveness_file,
    memory,
    orphan_killers,
    ports,
    restarters,
    router_loop,
    servers,
    units,
    versions,
)
from supervisor.doctor.examination import Look

CHECKS: dict[str, Look] = {
    "docker": engine.look,
    "systemd": units.look,
    "restarters": restarters.look,
    "killers": orphan_killers.look,
    "router loop": router_loop.look,
    "daemons": daemons.look,
    "ports": ports.look,
    "servers": servers.look,
    "keys": keys.look,
    "aliases": aliases.look,
    "disk": disk.look,
    "liveness file": liveness_file.look,
    "gpu": gpu.look,
    "memory": memory.look,
    "clock": clock.look,
    "versions": versions.look,
}
