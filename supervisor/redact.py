"""Take out of a server's log what may be a user's words or a secret, before it is kept.

Servers print neither by default, and both once somebody has turned their logging up. What is taken out is said.

A user's words run on over lines. So what follows a line that was left out is left out too, up to a line that only a
server begins so: with the whole of what it puts before each of them. Of what comes before that, nothing is kept but a
server's fixed words for a fault, and those alone: a line that begins like one may go on in a user's words.
"""

import re

from supervisor.core.cause_logs import COLOURS
from supervisor.engines.masked import MASK, without_secrets

LONGEST_LINE = 400  # what servers print of themselves is shorter; requests and prompts are longer
LEFT_OUT = "[left out: it may hold what a user wrote]"
HIDDEN = MASK

# Fields of requests and answers. `limit_mm_per_prompt` and `prompt_token_ids_len` are a server's own.
BEFORE = r"(?:system|user|chat|raw|full|formatted|rendered|generated|negative|decoder|encoder|input|output|reasoning)_"
AFTER = (
    r"_(?:(?:token_)?ids|tokens|embeds|texts?|str|string|values?|prefix|suffix|extra|data|list|parts?|messages?|content"
    r"|json|url|calls?|\d{1,3})"
)
WORDS = r"prompts?|messages|contents?|texts?|inputs?|outputs?|quer(?:y|ies)|completions?|instructions?|suffix"
MORE_WORDS = (
    r"documents?|system|user|thinking|reasoning|tools?|functions?|arguments|response|images?|audio|video|choices"
)


def _field(words: str) -> str:
    return rf"\b(?:{BEFORE})?(?:{words})(?:{AFTER})?"


USERS_WORDS = re.compile(
    "|".join(
        (
            # In JSON, and as Python and Go print it.
            rf"""{_field(f"{WORDS}|{MORE_WORDS}")}\\?["']?\s{{0,30}}[:=]\s{{0,30}}\\?(?:["'\[{{]|b["'])""",
            # Without quotes. Python's source in a traceback has `prompt=prompt`, which tells nothing.
            rf"(?P<word>{_field(WORDS)})=(?!(?:(?P=word)|None|null)(?:[,;)\]}}]|$)|(?:self|request)\.)\S",
            r"\b(?:prompts?|messages)\s{0,3}:(?!\s{1,3}None(?:[,)]|$))(?:\s{1,9}\S|\s*$)",
            r"\brole\\?[\"']?\s{0,3}[:=]\s{0,3}\\?[\"'](?:user|assistant|system|developer|tool)\b",
            r"[\"']message\\?[\"']\s{0,3}:\s{0,3}\{|[\"']context[\"']\s{0,3}:\s{0,3}\["
            r"|\bstop[\"']?\s{0,3}[:=]\s{0,3}\[\s{0,3}[\"']|\bdata: \{|;base64,",
            # What llama.cpp prints of a conversation token by token, of its answer, and of a prompt that it had kept.
            r"\b(?:next|sampled|accepted|draft|prompt) tokens?[ \d]{0,12}:",
            r"\bparsing (?:\w{1,9} )?(?:input with format|chat message)|\bparsed message\b|\bpartial parse:"
            r"|\bremaining content:|\bformatted prompt\b|\b(?:old|new): \.\.\.|\bstopping word: '[^']|\blast read: '",
            # vLLM's answers, and conversations that a template has been laid over.
            r"\bgenerated response\b|^\s{0,9}(?:user|assistant|human)\s?: "
            r"|<\|im_start\|>(?:user|system|assistant|tool)|<\|start_header_id\|>[a-z]|<start_of_turn>[a-z]|\[INST\] ",
        )
    ),
    re.IGNORECASE,
)

PROCESS = r"(?:\([A-Z]\w{0,40}(?: \w{1,9}=\w{1,9}){0,3} pid=\d{1,9}(?:, ip=[\d.]{7,15})?\) ){0,2}"  # vLLM's, Ray's
DAY, TIME = r"\d{4}[-/]\d\d[-/]\d\d", r"\d\d:\d\d:\d\d"
RANK = r"(?: (?:DP|TP|PP|EP)\d{1,4})"
# All that a server puts before a line of its own.
FRAME = re.compile(
    "|".join(
        (
            # llama.cpp, new and old; functions' names are cut or filled up to twelve characters there.
            r"(?:\[\d{1,7}\] )?\d{1,6}\.\d\d\.\d{3}\.\d{3} [A-Z] ",
            r"(?:\[\d{1,7}\] )?(?:(?:srv|cmn|que|res)  |slot )(?=.{12}: ) {0,11}\w[\w():~]{0,11}: ",
            r'\{(?:"tid":"\d{1,20}",)?"timestamp":["\d]',
            # vLLM
            rf"{PROCESS}(?:\[[\w-]{{1,20}}\] )?(?:DEBUG|INFO|WARNING|ERROR|CRITICAL) \d\d-\d\d {TIME} "
            r"(?:\[[\w./]{1,60}:\d{1,5}\]|[\w./]{1,60}:\d{1,5}\])(?: |$)",
            # uvicorn
            rf"{PROCESS}(?:\[{DAY} {TIME}{RANK}{{0,4}}\] )?(?:INFO:     |WARNING:  |ERROR:    |CRITICAL: )"
            r"(?:[\d.]{7,15}:\d{1,5} - \"|(?:Started|Finished) server process|Waiting for "
            r"|Application (?:startup|shutdown)|Uvicorn running on |Shutting down|\[Errno "
            r"|Exception in ASGI application|Traceback )",
            # SGLang; a chat that somebody quotes looks the same without a rank or such a beginning
            rf"\[{DAY} {TIME}(?:{RANK}{{1,4}}\]|\] (?:(?:Prefill|Decode) batch[.,: ]|Scheduler hit an exception"
            r"|TpModelWorker|Health check failed|Watchdog|Detokenizer|server_args=|Load weight (?:begin|end)"
            r"|KV Cache is|Memory pool end|Capture cuda graph|max_total_num_tokens=|The server is fired up"
            r"|SIGQUIT received)) ?",
            # Ollama and TGI
            rf"time={DAY}T\S{{8,20}} level=[A-Z]{{4,5}} (?:source|msg)=|\[GIN\] {DAY} - {TIME} \| ",
            rf"{DAY}T{TIME}\.\d{{1,9}}Z {{1,2}}(?:ERROR|WARN|INFO|DEBUG|TRACE) [a-z_]{{1,40}}(?:::\w{{1,40}}|[:{{])",
        )
    ),
    re.ASCII,
)

CUDA_SAYS = (
    r"out of memory|an illegal memory access was encountered|an illegal instruction was encountered"
    r"|unspecified launch failure|misaligned address|device-side assert triggered|unknown error|GPU is lost"
    r"|the launch timed out and was terminated|uncorrectable (?:ECC|NVLink) error encountered|initialization error"
    r"|no kernel image is available for execution on the device|device kernel image is invalid"
    r"|invalid (?:argument|configuration argument|device function|device ordinal|resource handle|program counter)"
    r"|no (?:CUDA|ROCm)-capable device is detected|all (?:CUDA|ROCm)-capable devices are busy or unavailable"
    r"|(?:CUDA|ROCm) driver version is insufficient for (?:CUDA|ROCm) runtime version|driver shutting down"
    r"|operation not (?:permitted|supported)|hardware stack error|system not yet initialized|context is destroyed"
    r"|unhandled (?:cuda|system) error|an internal operation failed|the function failed to launch on the GPU"
    r"|system has unsupported display driver / cuda driver combination|CUBLAS_STATUS_[A-Z_]{1,40}"
)
GPU_FAULT = (
    rf"(?:CUDA|ROCm|MUSA|HIP|NCCL|cuBLAS) error(?:: (?:{CUDA_SAYS}))?"
    r"|(?:CUDA|HIP|ROCm) out of memory\.?(?: Tried to allocate [\d.]{1,9} [KMG]iB)?"
)
SOURCE = r"(?:[\w.+-]{0,40}/){0,14}ggml[\w./+-]{0,120}\.(?:cuh?|c|cpp|h|hpp|mm?):\d{1,6}"
LIBRARY = (
    r"/(?:usr|opt|app|root|venv|workspace|home/vllm)/[\w./+-]{0,120}(?:python3[\d.]{0,4}|(?:site|dist)-packages)/"
    r"|/(?:vllm|sgl)-workspace/"
)
EXCEPTION = (
    r"(?:(?:torch|vllm)(?:\.\w{1,30}){0,5}\.)?(?:OutOfMemoryError|AcceleratorError|DistBackendError|EngineDeadError"
    r"|EngineGenerateError|RuntimeError|ValueError|OSError|MemoryError|AssertionError|TimeoutError)"
)
EXCEPTION_SAYS = (
    r"EngineCore encountered an issue\. See stack trace \(above\) for the root cause\."
    r"|Engine core initialization failed\. See root cause above\.|No available memory for the cache blocks\."
    r"|\[Errno \d{1,3}\] (?:Address already in use|No space left on device|Cannot allocate memory|Broken pipe"
    r"|Too many open files|Permission denied|No such file or directory|Connection reset by peer)"
)
# A server's fixed words for a fault, which it may print without anything before them.
FAULT = re.compile(
    rf"{PROCESS}(?:"
    + "|".join(
        (
            # What a function of llama.cpp says of itself: the whole line.
            r"(?:ggml_(?:cuda|backend|gallocr|vulkan|vk|metal|hip|sycl|rpc|abort|compute|graph)\w{0,60}"
            r"|gguf_init_\w{1,40}|clip_(?:init|model_load)\w{0,40}|mtmd_(?:init|get|encode|helper)\w{0,40}"
            r"|common_(?:init_|fit_|params_|get_|download_)\w{0,40}"
            r"|llama_(?:decode|encode|context|model|init|new|kv|load|memory|params|adapter|backend|state|perf)\w{0,60})"
            r"(?:\(\))?: .*",
            r"(?:decode|encode|process_ubatch|graph_compute|find_slot|init_batch|alloc_tensor_range): (?:failed to "
            r"(?:find a memory slot for batch of size \d{1,9}|(?:compute|allocate) graph|initialize (?:the )?batch"
            r"|prepare (?:attention )?ubatches|decode|encode|allocate \w{1,20} buffer of size \d{1,15})"
            r"|ggml_backend_sched_graph_compute_async failed with error -?\d{1,4})",
            rf"{SOURCE}: (?:{GPU_FAULT}|fatal error|GGML_ASSERT\([\w\s()!=<>&|.,+*/\[\]%-]{{1,160}}\) failed)",
            rf"(?:ggml_abort: )?{GPU_FAULT}",
            rf" {{1,4}}current device: -?\d{{1,3}}, in function \w{{1,80}} at {SOURCE}",
            r"terminate called(?: after throwing an instance of '[\w:<>]{1,80}'| without an active exception"
            r"| recursively)?",
            rf" {{1,4}}what\(\): {{1,4}}(?:std::bad_alloc|{GPU_FAULT}|vk::\w{{1,60}}: Error\w{{1,40}})?",
            r"(?:Segmentation fault|Aborted|Bus error|Illegal instruction|Killed)(?: \(core dumped\))?$",
            r"Fatal Python error: (?:Segmentation fault|Aborted|Bus error|Illegal instruction)",
            r"double free or corruption|free\(\): invalid|malloc\(\): (?:corrupted|invalid|unaligned|mismatching)"
            r"|corrupted size vs\. prev_size",
            r"\*\*\* stack smashing detected \*\*\*",
            # Python's
            r"Traceback \(most recent call last\):",
            rf' {{2}}File "(?:(?:{LIBRARY})[\w./+-]{{1,120}}|<frozen [\w.]{{1,60}}>)", line \d{{1,6}}'
            r"(?:, in [\w<>.]{1,80}$)?",
            r"(?:The above exception was the direct cause of the following exception"
            r"|During handling of the above exception, another exception occurred):$",
            r"Process (?:EngineCore|Worker|SpawnProcess|ApiServer|APIServer)[\w-]{0,20}:$",
            rf"{EXCEPTION}(?:: (?:{GPU_FAULT}|{EXCEPTION_SAYS}))?",
            # A start that failed.
            r"error: Failed to init server, please check the input params\.$"
            r"|main: exiting due to (?:model loading|HTTP server) error$",
            r"main: (?:server is listening on http\S{1,80}|loading model|model loaded|starting the main loop\.{3})$",
        )
    )
    + ")",
    re.ASCII,
)


def redacted(log: str, *, is_cut: bool = False) -> str:
    """Return `log` line by line, without what may be a user's words or a secret.

    `is_cut`: there was more before it, so that it may begin amid what a user wrote.
    """
    lines: list[str] = []
    leaves_out = is_cut
    for number, line in enumerate(COLOURS.sub("", log).splitlines()):
        is_fragment = is_cut and number == 0
        leaves_out = is_fragment or bool(USERS_WORDS.search(line)) or (leaves_out and not FRAME.match(line))
        fault = "" if is_fragment or not leaves_out else _fault(line)
        if not leaves_out:
            lines.append(_line(line))
        if fault:
            lines.append(_line(fault))
        if leaves_out and fault != line and (not lines or lines[-1] != LEFT_OUT):
            lines.append(LEFT_OUT)
    return "\n".join(lines)


def _fault(line: str) -> str:
    """Return the server's own words at the beginning of a line that may go on in a user's."""
    match = None if USERS_WORDS.search(line) else FAULT.match(line)
    return match[0] if match else ""


def _line(line: str) -> str:
    # Secrets are looked for in more than is kept, or half of one might stay at the end.
    told = without_secrets(line[: 2 * LONGEST_LINE])[:LONGEST_LINE]
    return told if len(line) <= LONGEST_LINE else f"{told} [and {len(line) - LONGEST_LINE} characters more]"
