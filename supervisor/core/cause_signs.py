"""The sentences by which llama.cpp's server, new and old, and whatever works on a GPU tell what went wrong.

Pure: a table. Each pattern is bounded in length and matched against the beginning of a sentence. What it captures is
what people need to name the thing: a path, a flag, a port, a size. Never a value of a flag: it may be a key.
"""

from supervisor.core.cause import Cause, Sign, sign

SIZE = r"(?P<{name}>\d{{1,15}}(?:\.\d{{1,3}})?)"
MIB, BYTES = SIZE.format(name="mib"), SIZE.format(name="bytes")
PATH = r"(?P<path>[^'\n]{1,300})"
DEVICE = r"(?P<device>(?:CUDA|ROCm|MUSA|Vulkan|SYCL|Metal|MTL|OpenCL|CANN|HIP)\d{0,3})"
API = r"(?:CUDA|ROCm|MUSA|HIP)"

FREE_VRAM = "free GPU memory (`nvidia-smi` tells who holds it), or ask for less: a smaller model, context or -ngl"
FREE_RAM = "give it more memory (the container's limit, the host's), or a smaller model or context"
PUT_THE_FILE = "put the file there, or mount the directory that it lies in at that path"
NAME_THE_MODEL = "correct the model's name or path, or download it first"
GET_THE_FILE = "download the file again, and compare its size and checksum with the source's"
UPDATE = "use a newer image of the server, or a model that this one knows"
CORRECT_FLAGS = (
    "correct its command: of a container, and create it again (`docker compose up -d`); otherwise in its unit, or in"
    " settings.toml (`benchai-supervisorctl update`)"
)
FREE_THE_PORT = "stop what listens there (`ss -ltnp` tells who), or give this target another port"
MEND_THE_GPU = "see whether `nvidia-smi` finds the GPU and its driver; a reset of the GPU or a reboot may be needed"
READ_THE_LOG = "read its log for the reason"


def at_start(cause: Cause, pattern: str, says: str, cure: str, **more: bool) -> Sign:
    """Return a sign that only a server which is about to start gives."""
    return sign(cause, pattern, says, cure, at_start=True, **more)


# The first that matches a line counts: what is told exactly stands before what is told in general.
LLAMA_CPP = (
    # Room on the GPU.
    sign(
        Cause.OUT_OF_VRAM,
        rf"allocating {MIB} MiB on device (?P<device>\d{{1,3}}): cudaMalloc failed",
        "no room for {mib} on GPU {device}",
        FREE_VRAM,
    ),
    sign(
        Cause.OUT_OF_VRAM,
        rf"failed to allocate {DEVICE} buffer of size {BYTES}",
        "no room for {bytes} on {device}",
        FREE_VRAM,
    ),
    sign(
        Cause.OUT_OF_VRAM,
        rf"Device memory allocation of size {BYTES} failed",
        "no room for {bytes} on the GPU",
        FREE_VRAM,
    ),
    sign(
        Cause.OUT_OF_VRAM,
        rf"error loading model: unable to allocate {DEVICE} buffer",
        "no room for its model on {device}",
        FREE_VRAM,
        is_hint=True,
    ),
    # Room in memory.
    sign(
        Cause.OOM_KILLED,
        rf"failed to allocate (?P<device>CPU\w{{0,20}}) buffer of size {BYTES}",
        "no room for {bytes} in memory",
        FREE_RAM,
    ),
    sign(
        Cause.OOM_KILLED,
        r"error loading model: (?:unable to allocate CPU|.{0,200}Cannot allocate memory|std::bad_alloc)",
        "no room for its model in memory",
        FREE_RAM,
    ),
    sign(
        Cause.OOM_KILLED,
        r"failed to initialize the context: std::bad_alloc",
        "no room for its context in memory",
        FREE_RAM,
    ),
    sign(
        Cause.OOM_KILLED,
        r"terminate called after throwing an instance of 'std::bad_alloc'",
        "no memory left for it",
        FREE_RAM,
        helps_restart=True,  # it may have taken the memory itself, little by little
    ),
    # The model's file.
    at_start(
        Cause.MODEL_MISSING,
        rf"failed to open (?:GGUF file )?'{PATH}'(?: \((?:errno )?|: ')No such file",
        "the model file does not exist: {path}",
        PUT_THE_FILE,
    ),
    at_start(
        Cause.MODEL_MISSING,
        rf"failed to open (?:GGUF file )?'{PATH}'(?: \((?:errno )?|: ')Permission denied",
        "the model file may not be read: {path}",
        "let the server's user read the file (chmod, chown)",
    ),
    at_start(
        Cause.MODEL_MISSING,
        rf"failed to open GGUF file '{PATH}'",
        "the model file cannot be opened: {path}",
        PUT_THE_FILE,
    ),
    at_start(
        Cause.MODEL_MISSING,
        r"error loading model: failed to open (?P<path>[^:\n]{1,300}): No such file",
        "the model file does not exist: {path}",
        PUT_THE_FILE,
    ),
    at_start(
        Cause.MODEL_MISSING, r"failed to download model", "its model cannot be downloaded", NAME_THE_MODEL, is_hint=True
    ),
    at_start(
        Cause.MODEL_CORRUPT,
        r"invalid magic (?:characters|number)|failed to read magic",
        "the model file is no GGUF file, or empty",
        GET_THE_FILE,
        lacks_path=True,
    ),
    at_start(
        Cause.MODEL_CORRUPT,
        r"failed to read (?:header|key-value pairs|tensor info|tensor data)",
        "the model file is corrupt or cut off",
        GET_THE_FILE,
        lacks_path=True,
    ),
    at_start(
        Cause.MODEL_CORRUPT,
        r"(?:failed to load model: )?this GGUF file (?:is )?version \d{1,10} (?:but|is extremely)|bad GGUF version",
        "the model file is corrupt, or newer than the server",
        GET_THE_FILE,
        lacks_path=True,
    ),
    at_start(
        Cause.MODEL_CORRUPT,
        r"error loading model: (?:error loading model architecture: )?(?:unknown|unsupported) model architecture:"
        r" '(?P<name>[\w.-]{1,60})'",
        "the server does not know this kind of model ({name})",
        UPDATE,
        lacks_path=True,
    ),
    at_start(
        Cause.MODEL_CORRUPT,
        r"error loading model: (?:error loading model vocabulary: )?unknown pre-tokenizer type:"
        r" '(?P<name>[\w.-]{1,60})'",
        "the server does not know this model's tokenizer ({name})",
        UPDATE,
        lacks_path=True,
    ),
    at_start(
        Cause.NEVER_READY,
        rf"error loading model: (?:llama_model_loader: )?failed to load model(?: from {PATH})?",
        "it could not load its model",
        READ_THE_LOG,
        is_hint=True,
        lacks_path=True,
    ),
    at_start(
        Cause.MODEL_CORRUPT,
        r"error loading model: (?:tensor|missing tensor|check_tensor_dims|done_getting_tensors|corrupted model"
        r"|invalid model|(?:array )?key not found|error loading model (?:hyperparameters|vocabulary)|read error)\b",
        "the model file is corrupt or cut off",
        GET_THE_FILE,
        lacks_path=True,
    ),
    at_start(
        Cause.MODEL_CORRUPT,
        # In its own words: they are made of names in the file.
        r"error loading model: (?P<what>[^\n]{1,160})",
        "the model cannot be used: {what}",
        GET_THE_FILE,
        is_hint=True,
    ),
    at_start(
        Cause.NEVER_READY,
        rf"failed to load (?:draft |multimodal )?model,? '{PATH}'",
        "it could not load its model",
        READ_THE_LOG,
        is_hint=True,
        lacks_path=True,
    ),
    # Flags.
    at_start(
        Cause.BAD_FLAG,
        r"error: (?:invalid|unknown) argument: (?P<flag>--?[\w-]{1,60})",
        "the server does not know the flag {flag}",
        CORRECT_FLAGS,
    ),
    at_start(
        Cause.BAD_FLAG,
        r"error: (?:invalid|unknown) argument: ",
        "the server does not understand its command",
        CORRECT_FLAGS,
    ),
    at_start(
        Cause.BAD_FLAG,
        r"error while handling (?:argument|environment variable) \"(?P<flag>[\w-]{1,60})\"",
        "{flag} has no value that it may have",
        CORRECT_FLAGS,
    ),
    at_start(
        Cause.BAD_FLAG,
        r"error: (?:--model is required|no model\b)",
        "its command names no model",
        CORRECT_FLAGS,
    ),
    at_start(
        Cause.BAD_FLAG,
        rf"error: failed to open file '{PATH}'",
        "a file that a flag names cannot be opened: {path}",
        CORRECT_FLAGS,
    ),
    # The port.
    at_start(
        Cause.PORT_TAKEN,
        r"couldn't bind (?:HTTP|to) server socket[,:] hostname[:=] ?(?P<host>[\w.:-]{1,80}?),? port[:=] ?"
        r"(?P<port>\d{1,5})",
        "cannot listen on {host} port {port}: it is taken, or no address of its own",
        FREE_THE_PORT,
    ),
    # The GPU, while at work too.
    sign(
        Cause.GPU_LOST,
        rf"failed to initialize {API}: (?P<what>[\w .,()'/-]{{1,100}})",
        "it found no GPU: {what}",
        MEND_THE_GPU,
        is_hint=True,  # it goes on without
    ),
    sign(Cause.GPU_LOST, r"(?:what\(\): {1,4})?vk::.{1,60}ErrorDeviceLost", "it lost its GPU (Vulkan)", MEND_THE_GPU),
    sign(
        Cause.OUT_OF_VRAM,
        r"(?:what\(\): {1,4})?vk::.{1,60}ErrorOutOfDeviceMemory",
        "no room on the GPU (Vulkan)",
        FREE_VRAM,
    ),
    sign(
        Cause.CRASHED,
        r"(?:[^\n:]{1,200}/)?(?P<file>[\w.-]{1,60}:\d{1,6}): GGML_ASSERT\((?P<what>[^\n]{1,80}?)\) failed",
        "an assertion of its own failed: {what} ({file})",
        is_hint=True,
        helps_restart=True,
    ),
)

# As CUDA, ROCm and PyTorch call them.
GPU = (
    sign(Cause.OUT_OF_VRAM, rf"{API} error: out of memory", "no room on the GPU", FREE_VRAM),
    sign(
        Cause.GPU_LOST,
        rf"{API} error: (?P<what>GPU is lost|uncorrectable (?:ECC|NVLink) error encountered|unknown error"
        r"|initialization error|driver shutting down|system not yet initialized"
        r"|no (?:CUDA|ROCm)-capable device is detected|all (?:CUDA|ROCm)-capable devices are busy or unavailable"
        r"|hardware stack error"
        r"|(?:CUDA|ROCm) driver version is insufficient for (?:CUDA|ROCm) runtime version"
        r"|system has unsupported display driver / cuda driver combination)",
        "the GPU failed: {what}",
        MEND_THE_GPU,
    ),
    sign(
        Cause.CRASHED,
        rf"{API} error: (?P<what>[\w ,()'-]{{1,80}})",
        "an error on the GPU: {what}",
        helps_restart=True,
    ),
    sign(
        Cause.OUT_OF_VRAM,
        rf"{API} out of memory\. Tried to allocate (?P<amount>\d{{1,9}}(?:\.\d{{1,3}})? [KMG]iB)",
        "no room for {amount} on the GPU",
        FREE_VRAM,
    ),
    sign(Cause.OUT_OF_VRAM, rf"{API} out of memory", "no room on the GPU", FREE_VRAM),
    sign(Cause.GPU_LOST, r"GPU is lost|Unable to determine the device handle for GPU", "it lost its GPU", MEND_THE_GPU),
    sign(
        Cause.GPU_LOST,
        r"No CUDA GPUs are available|Found no NVIDIA driver on your system|Failed to infer device type",
        "it found no GPU",
        MEND_THE_GPU,
    ),
    sign(
        Cause.GPU_LOST,
        r"(?:error while loading shared libraries: )?(?P<name>lib(?:cuda|nvidia-ml)\.so[\w.]{0,12}): cannot open",
        "the GPU driver's library {name} is not there",
        "give the container a GPU (`--gpus all`), and see that the host has its driver",
    ),
)
