"""Find the cause in an engine's own words: why it could not start a target, or could not be asked.

Pure. The sentences are those of Docker engines 20.10 to 29, of runc, of the NVIDIA runtime, and of our own engines.
"""

from supervisor.core.cause import Cause, Finding, sign
from supervisor.core.cause_systemd import SYSTEMD_SIGNS

MOST_READ = 2000  # characters; an engine that tells more tells it at the beginning or at the end

ADDRESS = r"(?P<where>[\w.:\[\]/-]{1,60}?)"
NAME = r"[\"']?(?P<name>[\w./:@-]{1,160})"
# Where somebody has written a whole command line in place of a program, its first word: the rest may hold a secret.
PROGRAM = r"(?P<name>[^\s\"'=]{1,120})(?:[\s=][^\n\"']{0,1000})?"
FREE_THE_PORT = "stop what holds it (`ss -ltnp` tells who), or give this target another port"
GET_THE_IMAGE = "pull or build the image, then create the container again (`docker compose up -d`)"
JOIN_A_NETWORK = "create the container again (`docker compose up -d`), or connect it by `docker network connect`"
MEND_THE_GPU = "see whether `nvidia-smi` finds it; if not, load its driver or reboot the host"
MEND_THE_MOUNT = "make that path on the host, or correct it among the container's volumes"


# The first that matches counts: what is told exactly stands before what is told in general.
SIGNS = (
    sign(
        Cause.PORT_TAKEN,
        rf"Bind for {ADDRESS} failed: port is already allocated",
        "{where} is taken by another container",
        "stop that container (`docker ps` tells which), or give this one another port",
    ),
    sign(
        Cause.PORT_TAKEN,
        rf"listen (?:tcp|udp)\d? {ADDRESS}: bind: address already in use",
        "{where} is taken",
        FREE_THE_PORT,
    ),
    sign(
        Cause.PORT_TAKEN,
        # Newer engines add the address inside: 0.0.0.0:8000:172.31.0.2:8000/tcp.
        r"failed to bind host port (?:for )?(?P<where>(?:[\d.]{7,15}|\[[\da-f:]{2,40}\]):\d{1,5})[\w.:/\[\]]{0,60}:"
        r" address already in use",
        "{where} is taken",
        FREE_THE_PORT,
    ),
    sign(
        Cause.PORT_TAKEN,
        r"port is already allocated|address already in use|[Pp]orts are not available",
        "its port is taken",
        FREE_THE_PORT,
    ),
    sign(Cause.IMAGE_MISSING, rf"No such image: {NAME}", "there is no image {name}", GET_THE_IMAGE),
    sign(Cause.IMAGE_MISSING, rf"pull access denied for {NAME}", "the image {name} cannot be had", GET_THE_IMAGE),
    sign(Cause.IMAGE_MISSING, rf"manifest for {NAME} not found", "there is no image {name}", GET_THE_IMAGE),
    sign(Cause.IMAGE_MISSING, rf"failed to resolve reference {NAME}", "the image {name} cannot be had", GET_THE_IMAGE),
    sign(
        Cause.NETWORK_DETACHED,
        r"network (?P<name>[\w.-]{1,64}) not found",
        "its network {name} does not exist",
        JOIN_A_NETWORK,
    ),
    sign(
        Cause.NETWORK_DETACHED,
        # By its whole id: a container that it was made to share something with, and not itself.
        r"No such container: (?P<name>[\da-f]{12})[\da-f]{52}",
        "the container whose network it shares is gone: {name}",
        "create that container again, and then this one (`docker compose up -d`)",
    ),
    sign(
        Cause.NETWORK_DETACHED,
        r"cannot join network of a non running container: (?P<name>[\da-f]{12})",
        "the container whose network it shares does not run: {name}",
        "start that container first",
    ),
    sign(
        Cause.GPU_LOST,
        r"could not select device driver \"[\w.-]{0,40}\" with capabilities: \[\[[\w ]{0,40}\bgpu",
        "the engine has no driver for GPUs",
        "install the NVIDIA container toolkit on the engine's host and restart the engine",
    ),
    sign(
        Cause.GPU_LOST,
        r"unknown or invalid runtime name: (?P<name>nvidia)",
        "the engine does not know the runtime {name}",
        "install the NVIDIA container toolkit on the engine's host and restart the engine",
    ),
    sign(
        Cause.GPU_LOST,
        r"nvidia-container-cli: (?P<what>[\w .:/-]{1,100}?)(?:: unknown)?(?:[^\w .:/-]|$)",
        "no GPU for it: {what}",
        MEND_THE_GPU,
    ),
    sign(
        Cause.GPU_LOST,
        r"unresolvable CDI devices (?P<name>[\w./=,-]{1,80})",
        "the engine does not find the GPU {name}",
        MEND_THE_GPU,
    ),
    sign(
        Cause.GPU_LOST,
        r"custom device \"(?P<name>/dev/(?:nvidia|dri|kfd|dxg)[\w./-]{0,40})\": no such file or directory",
        "there is no {name}",
        MEND_THE_GPU,
    ),
    sign(
        Cause.BAD_FLAG,
        r"custom device \"(?P<name>[\w./-]{1,80})\": no such file or directory",
        "there is no device {name}",
        "take the device out of the container's settings, or plug it in",
    ),
    # For a model server, what is mounted is where its models lie.
    sign(
        Cause.MODEL_MISSING,
        r"bind source path does not exist: (?P<path>[^\n\"']{1,200})",
        "a mounted path does not exist: {path}",
        MEND_THE_MOUNT,
    ),
    sign(
        Cause.MODEL_MISSING,
        r"error mounting \"(?P<path>[^\n\"]{1,200})\" to rootfs",
        "{path} cannot be mounted",
        MEND_THE_MOUNT,
    ),
    sign(
        Cause.MODEL_MISSING,
        r"error while mounting volume '(?P<path>[^\n']{1,200})'",
        "the volume {path} cannot be mounted",
        "see whether what it lies on (a disk, a network share) is there",
    ),
    sign(
        Cause.BAD_FLAG,
        r"exec format error",
        "its program is made for another kind of processor",
        "use an image for this host's processor",
    ),
    sign(
        Cause.BAD_FLAG,
        rf"exec: \"{PROGRAM}\": (?:executable file not found|stat |no such file)",
        "there is no program {name} in its image",
        "correct the container's command, or use an image that has the program",
    ),
    sign(
        Cause.BAD_FLAG,
        rf"exec: \"{PROGRAM}\": permission denied",
        "{name} is no program that may be run",
        "correct the container's command, or make the file executable (chmod +x)",
    ),
    sign(
        Cause.BAD_FLAG,
        # A secret at its end was hidden, and with it whatever followed.
        rf"exec: \"{PROGRAM}\*\*\*$",
        "its program {name} cannot be run",
        "correct the container's command: a program and its arguments are words of their own",
    ),
    sign(
        Cause.BAD_FLAG,
        rf"cannot run '{PROGRAM}': its working directory (?P<path>[^\n]{{1,160}}) does not exist",
        "its working directory {path} does not exist",
        "make that directory, or correct it in settings.toml",
    ),
    sign(
        Cause.BAD_FLAG,
        rf"cannot run '{PROGRAM}': ",
        "its program {name} cannot be run",
        "install the program, make it executable, or correct `command` in settings.toml",
    ),
    *SYSTEMD_SIGNS,
    sign(
        Cause.HUNG,
        r"did not receive an exit event|[Cc]ould not kill running container|still there [\d.]+s after SIGKILL",
        "it cannot be killed: the kernel holds it",
        "see in `dmesg` which device it waits for; a reboot of the host may be needed",
    ),
    sign(
        Cause.UNKNOWN,
        r"no space left on device",
        "the host's disk is full",
        "free space on the engine's disk (`docker system df`)",
    ),
    sign(
        Cause.ENGINE_LOST,
        r"no answer at |; the engine hangs|still owes the answer to an earlier call|wait for answers$",
        "its engine does not answer",
        "see what the engine is at (`systemctl status docker`), and start it again if it does not recover",
    ),
)


def read_engine(words: str) -> Finding | None:
    """Return what an engine's words tell, None where they are none that we know."""
    heard = words if len(words) <= MOST_READ else words[: MOST_READ // 2] + "\n" + words[-MOST_READ // 2 :]
    for each in SIGNS:
        if match := each.pattern.search(heard):
            return each.read(match)
    return None
