"""The sentences by which vLLM, SGLang and Ollama tell what went wrong, and those of the programs around them.

Pure: a table, made as `cause_signs.py` is.
"""

from supervisor.core.cause import Cause, sign
from supervisor.core.cause_signs import (
    API,
    CORRECT_FLAGS,
    FREE_RAM,
    FREE_THE_PORT,
    FREE_VRAM,
    GET_THE_FILE,
    UPDATE,
    at_start,
)

HUB = r"[\"']?(?P<name>[\w./-]{1,150})[\"']?"
FREE_VRAM_VLLM = "free GPU memory (`nvidia-smi` tells who holds it), or lower --max-model-len or the share it may take"
NAME_THE_MODEL = "correct the model's name or path, or download it first"

VLLM = (
    at_start(
        Cause.OUT_OF_VRAM,
        r"Free memory on device (?:[\w:]{1,20} )?\((?P<free>[\d.]{1,10})/(?P<total>[\d.]{1,10}) GiB\) on startup is",
        "only {free} of {total} GiB are free on the GPU",
        FREE_VRAM_VLLM,
    ),
    at_start(
        Cause.OUT_OF_VRAM,
        r"No available memory for the cache blocks|Not enough memory\. Please try to increase --mem-fraction-static",
        "no room for its cache on the GPU",
        FREE_VRAM_VLLM,
    ),
    at_start(
        Cause.OUT_OF_VRAM,
        r"To serve at least one request with the model.{1,200}larger than the available KV [cC]ache memory"
        r"|The model's max seq len .{1,100}larger than the maximum number of tokens that can be stored in KV cache",
        "no room for one request of full length on the GPU",
        FREE_VRAM_VLLM,
    ),
    at_start(
        Cause.MODEL_MISSING,
        rf"(?:Invalid repository ID or local directory specified|Repo id must be in the form .{{1,100}}): {HUB}",
        "there is no model {name}",
        NAME_THE_MODEL,
    ),
    at_start(
        Cause.MODEL_MISSING,
        rf"{HUB} is not a local folder and is not a valid model identifier",
        "there is no model {name}",
        NAME_THE_MODEL,
    ),
    at_start(
        Cause.MODEL_MISSING,
        rf"{HUB} does not appear to have a file named (?P<file>[\w.-]{{1,60}})",
        "the model {name} has no {file}",
        NAME_THE_MODEL,
    ),
    at_start(
        Cause.MODEL_MISSING,
        r"You are trying to access a gated repo|Cannot access gated repo",
        "the model's source asks for a permission",
        "ask for access at the model's page, and give the server a token (HF_TOKEN)",
    ),
    at_start(
        Cause.MODEL_CORRUPT,
        r"Error while deserializing header: (?P<what>\w{1,40})",
        "the model's weights are corrupt or cut off ({what})",
        GET_THE_FILE,
    ),
    at_start(
        Cause.BAD_FLAG,
        r"error: unrecognized arguments: (?P<flag>--?[\w-]{1,60})",
        "the server does not know the flag {flag}",
        CORRECT_FLAGS,
    ),
    at_start(
        Cause.BAD_FLAG,
        r"error: argument (?P<flag>--?[\w-]{1,60})",
        "{flag} has no value that it may have",
        CORRECT_FLAGS,
    ),
    at_start(
        Cause.BAD_FLAG,
        r"error: (?:unrecognized arguments|the following arguments are required)",
        "the server does not understand its command",
        CORRECT_FLAGS,
    ),
    at_start(
        Cause.PORT_TAKEN,
        r"\[Errno 98\] error while attempting to bind on address \('(?P<host>[\w.:]{1,60})', (?P<port>\d{1,5})",
        "{host} port {port} is taken",
        FREE_THE_PORT,
    ),
    at_start(
        Cause.PORT_TAKEN,
        r"\[Errno 98\] Address already in use|listen (?:tcp|udp)\d? (?P<where>[\w.:\[\]]{1,60}): bind: address already",
        "its port is taken",
        FREE_THE_PORT,
    ),
    sign(
        Cause.CRASHED,
        r"EngineCore encountered an issue",
        "the process that does the inference died",
        is_hint=True,
        helps_restart=True,
    ),
    at_start(
        Cause.BAD_FLAG,
        r"(?:line \d{1,4}: |\d{1,4}: )?(?P<name>[\w./-]{1,100}): (?:command )?not found$",
        "there is no program {name} in its image",
        CORRECT_FLAGS,
    ),
    at_start(
        Cause.UNKNOWN,
        r"(?:error while loading shared libraries: )(?P<name>[\w.+-]{1,80}): cannot open shared",
        "its image lacks the library {name}",
        "use an image that is whole, or that fits this host",
    ),
)

# Searched for in what Ollama logs as an error: it loads models while it runs, and goes on when that fails.
OLLAMA = (
    sign(
        Cause.OOM_KILLED,
        r"model requires more system memory \((?P<need>[\d.]{1,10} [KMGT]iB)\) than is available"
        r" \((?P<has>[\d.]{1,10} [KMGT]iB)\)",
        "the model needs {need} of memory and {has} are free",
        FREE_RAM,
    ),
    sign(
        Cause.OUT_OF_VRAM,
        rf"(?:cudaMalloc failed|{API} error): out of memory|memory layout cannot be allocated",
        "no room for a model on the GPU",
        FREE_VRAM,
    ),
    sign(
        Cause.MODEL_CORRUPT,
        r"unknown model architecture: .{0,2}'(?P<name>[\w.-]{1,60})'",
        "the server does not know this kind of model ({name})",
        UPDATE,
    ),
    sign(
        Cause.MODEL_CORRUPT,
        r"unable to load model: (?P<path>[^\"\s]{1,200})",
        "it cannot load the model {path}",
        "pull the model again (`ollama pull`), or use a newer image of the server",
    ),
    sign(
        Cause.OOM_KILLED,
        r"llama runner (?:process has )?terminated.{1,20}signal: killed",
        "the process that does the inference was killed, most likely for want of memory",
        FREE_RAM,
        helps_restart=True,
    ),
    sign(
        Cause.CRASHED,
        rf"llama runner (?:process has )?terminated.{{1,20}}?(?P<what>{API} error[\w :,'-]{{0,80}})",
        "the process that does the inference died: {what}",
        helps_restart=True,
    ),
    sign(
        Cause.CRASHED,
        r"llama runner (?:process has )?terminated.{1,20}?(?P<what>exit status \w{1,10})",
        "the process that does the inference died ({what})",
        is_hint=True,
        helps_restart=True,
    ),
)
