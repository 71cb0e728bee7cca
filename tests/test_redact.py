"""What users wrote and what opens doors is taken out of a log; what a server says of itself stays."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.redact import FRAME, HIDDEN, LEFT_OUT, LONGEST_LINE, redacted

LOGS = Path(__file__).parent / "fixtures" / "logs"
LOG_BYTES = 16_384
MARK = "Zq7"  # in no word of a server
REQUEST = "prompt: 'dear doctor,"
IDLE = "srv  update_slots: all slots are idle"
VLLM = "(EngineCore_DP0 pid=87) ERROR 11-24 12:00:09 [core.py:710] "
FRAMED = sorted({line for log in LOGS.glob("*.txt") for line in log.read_text().splitlines() if FRAME.match(line)})
# Beginnings of a user's line that look like a server's, and are not all that it puts there.
LIKE_A_SERVERS = [
    "",
    "[x] ",
    "[2026-08-12 10:41:01] John: ",
    "[12] ",
    "2024-05-01 admitted ",
    "load on ",
    "main: ",
    "que ",
    "slot machine: ",
    "srv ",
    "INFO: ",
    "ERROR ",
    "error: ",
    "time=now ",
    "common_name: ",
    "llama_facts: ",
    "(John pid) ",
    "CUDA error: ",
    "RuntimeError: ",
    "Traceback (most recent call last): ",
    "terminate called ",
    "  what():  ",
    '  File "/home/me/',
    "OSError: [Errno 1] ",
    "decode: failed to ",
    "(APIServer pid=1) ",
]
TEXTS = st.text(st.characters(codec="utf-8"), max_size=40).map(lambda text: f"{MARK} {text} {MARK}")


@pytest.mark.parametrize(
    "line",
    [
        '{"messages":[{"role":"user","content":"what ails me"}]}',
        "INFO 11-24 12:00:00 [logger.py:43] Received request chatcmpl-1: prompt: 'what ails me', params: ...",
        'srv  operator(): operator(): {"prompt": "what ails me"}',
        'slot print: | prompt = "what ails me"',
        'srv  log_server_r: request:  {\\"content\\":\\"what ails me\\"}',
    ],
)
def test_lines_that_hold_what_a_user_wrote_are_left_out(line: str) -> None:
    assert redacted(line) == LEFT_OUT


@pytest.mark.parametrize(
    "line",
    [
        "slot process_toke: id  0 | task 0 | n_decoded = 2, n_remaining = 94, next token:   374 ' Mrs'",
        "slot update_slots: id  0 | task 0 | prompt token   3: 11321 ' diagnosis'",
        "slot update_slots: id  0 | task 0 | old: ... my | diagnosis",
        "srv  update_chat_: Parsing chat message: Dear Mrs Smith",
        "Parsing input with format Content-only: Dear Mrs Smith",
        "Parsing PEG input with format peg-native: Dear Mrs Smith",
        "Parsed message: Dear Mrs Smith",
        "Partial parse: Dear Mrs Smith",
        "0.18.729.178 W srv    operator(): got exception: syntax error; last read: '\"Dear Mrs Smith'",
    ],
)
def test_what_llama_cpp_prints_of_a_conversation_is_left_out(line: str) -> None:
    assert redacted(line) == LEFT_OUT


@pytest.mark.parametrize(
    "line",
    [
        "[2026-08-12 10:41:01] Receive: obj=GenerateReqInput(rid='1', text=None, input_ids=[151644, 8948, 198])",
        "DEBUG 11-24 12:00:00 [logger.py:49] Request cmpl-1 details: prompt_token_ids: [151644, 8948]",
        "INFO 11-24 12:00:00 [logger.py:80] Generated response chatcmpl-1: output: 'Dear Mrs Smith'",
        'request: {"inputs": "Dear Mrs Smith"}',
        'request: {"documents": ["Dear Mrs Smith"]}',
        'infill: {"input_prefix": "def ail(", "input_suffix": ")"}',
        "Input should be a valid dict [type=dict_type, input_value='Dear Mrs Smith', input_type=str]",
        'time=2026-01-01T12:00:00.000Z level=DEBUG source=routes.go:9 msg="chat request" prompt=hello',
        "prompt=None, messages=hello",
        "system_prompt=hello, text_1=hello",
        "Prompt: Dear Mrs Smith",
        "User: Dear Mrs Smith",
        'INFO:     127.0.0.1:5 - "GET /v1/x?prompt=hello HTTP/1.1" 200 OK',
    ],
)
def test_a_field_of_a_request_is_known_however_it_is_printed(line: str) -> None:
    assert redacted(line) == LEFT_OUT


def test_what_a_user_wrote_on_further_lines_is_left_out_with_the_first() -> None:
    log = f"{REQUEST}\nI have a rash\nyours\n{IDLE}"

    assert redacted(log) == f"{LEFT_OUT}\n{IDLE}"


@pytest.mark.parametrize("beginning", LIKE_A_SERVERS)
def test_a_users_line_that_begins_like_a_servers_brings_nothing_back(beginning: str) -> None:
    told = redacted(f"{REQUEST}\n{beginning}{MARK}\nmy name is {MARK}\n{IDLE}")

    assert MARK not in told
    assert told.endswith(IDLE)


@pytest.mark.parametrize(
    "line",
    [
        f"{VLLM}torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
        "(APIServer pid=1) INFO 11-24 12:00:01 [async_llm.py:345] Added request chatcmpl-1.",
        'INFO:     127.0.0.1:51234 - "POST /v1/chat/completions HTTP/1.1" 500 Internal Server Error',
        "(APIServer pid=1) INFO:     Shutting down",
        "0.22.455.959 I slot print_timing: id  0 | task 64 | prompt eval time = 1478.62 ms",
        "[56285] 0.54.236.075 E CUDA error: an illegal memory access was encountered",
        "slot print_timing: id  0 | task 64 | prompt eval time = 1478.62 ms",
        "que    start_loop: waiting for new tasks",
        "[2026-08-12 10:41:01 TP0] Scheduler hit an exception",
        'time=2025-04-14T20:20:48.993+08:00 level=ERROR source=server.go:449 msg="llama runner terminated"',
        "[GIN] 2026/08/12 - 10:41:01 | 500 |  1.2s | 127.0.0.1 | POST     /api/chat",
    ],
)
def test_a_server_goes_on_with_all_that_it_puts_before_a_line(line: str) -> None:
    told = redacted(f"{REQUEST}\nyours\n{line}\n  and more of it")

    assert told == f"{LEFT_OUT}\n{line}\n  and more of it"


def test_a_coloured_line_is_read_and_kept_without_its_colours() -> None:
    told = redacted(f"{REQUEST}\n\x1b[1;36m(APIServer pid=1)\x1b[0;0m ERROR 11-24 12:00:01 [core.py:345] Died.")

    assert told == f"{LEFT_OUT}\n(APIServer pid=1) ERROR 11-24 12:00:01 [core.py:345] Died."


@pytest.mark.parametrize(
    "line",
    [
        "/app/ggml/src/ggml-cuda/ggml-cuda.cu:88: CUDA error",
        "CUDA error: an illegal memory access was encountered",
        "  current device: 0, in function ggml_cuda_op_mul_mat at ggml-cuda.cu:1621",
        "/src/llama.cpp/ggml/src/ggml-backend.cpp:179: GGML_ASSERT(buffer) failed",
        "ggml_cuda_compute_forward: MUL_MAT failed",
        "ggml_gallocr_reserve_n_impl: failed to allocate CUDA3 buffer of size 1247175168",
        "llama_decode: failed to decode, ret = -3",
        "decode: failed to find a memory slot for batch of size 512",
        "Traceback (most recent call last):",
        "(EngineCore_DP0 pid=17374) Traceback (most recent call last):",
        '  File "/usr/local/lib/python3.12/dist-packages/vllm/v1/engine/core.py", line 710, in run_busy_loop',
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
        "RuntimeError: CUDA error: device-side assert triggered",
        "terminate called after throwing an instance of 'std::runtime_error'",
        "  what():  std::bad_alloc",
        "Segmentation fault (core dumped)",
        "error: Failed to init server, please check the input params.",
    ],
)
def test_fixed_words_for_a_fault_stay_amid_what_is_left_out(line: str) -> None:
    told = redacted(f"{REQUEST}\nyours\n{line}\nmy name is John")

    assert told == f"{LEFT_OUT}\n{line}\n{LEFT_OUT}"


def test_of_a_line_that_goes_on_after_a_faults_fixed_words_only_those_are_kept() -> None:
    told = redacted(f"{REQUEST}\nCUDA error: out of memory, says my wife")

    assert told == f"{LEFT_OUT}\nCUDA error: out of memory\n{LEFT_OUT}"


@pytest.mark.parametrize(
    "line",
    [
        "INFO 11-24 12:00:00 [utils.py:233] non-default args: {'model_tag': 'x', 'limit_mm_per_prompt': {'image': 2}}",
        f"{VLLM}    hidden = self.model(input_ids=input_ids, positions=positions, inputs=self.inputs)",
        f"{VLLM}SchedulerOutput(scheduled_new_reqs=[NewRequestData(req_id=x,prompt_token_ids_len=28)])",
        f"{VLLM}KeyError: 'layers.0.mlp.gate_up_proj.weight'",
        "INFO 11-24 12:00:00 [loggers.py:116] Avg prompt throughput: 4.1 tokens/s, Running: 1 reqs",
        "slot update_slots: id  0 | task 64 | new prompt, n_ctx_slot = 4096, task.n_tokens = 2048, cached = 3",
        "srv  log_server_r: done request: POST /v1/chat/completions 127.0.0.1 500",
        '{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}',
        "INFO 11-24 12:00:00 [llm_engine.py:1] max_num_batched_tokens=8192, max_seq_len=4096",
    ],
)
def test_what_a_server_says_of_itself_stays(line: str) -> None:
    assert redacted(line) == line


@pytest.mark.parametrize(
    "line",
    [
        "Authorization: Bearer abcdef123456",
        "api_key=abcdef123456 was given",
        '"token": "abcdef123456"',
        "using hf_abcdef123456",
        "main: --api-key abcdef123456",
        "non-default args: {'model_tag': 'x', 'api_key': ['abcdef123456'], 'host': '0.0.0.0'}",
        "non-default args: {'api_key': ['abcdef', 'abcdef123456'], 'host': '0.0.0.0'}",
        '"api_key": ["abcdef", "abcdef123456"',
        "AWS_SECRET_ACCESS_KEY=abcdef123456",
        "passwd=abcdef123456",
        "trying https://me:abcdef123456@hub.local/x.gguf",
        "redis://:abcdef123456@cache:6379",
        "Authorization: Basic abcdef123456==",
        "Authorization: Token abcdef123456",
        "{'authorization': 'Token abcdef123456'}",
        "AKIAabcdef123456",
        "eyJabcdef123456.eyJ9.sig",
        "github_pat_abcdef123456",
        "gho_abcdef123456",
        "glpat-abcdef123456",
        f"{'x' * (LONGEST_LINE - 6)} sk-abcdef123456",
    ],
)
def test_secrets_are_hidden(line: str) -> None:
    told = redacted(line)

    assert "abcdef" not in told
    assert HIDDEN in told


def test_a_log_that_was_cut_loses_what_may_be_the_rest_of_a_request() -> None:
    log = f'{MARK} on and on"}}]}}\nmy name is {MARK}\nCUDA error: out of memory\n{IDLE}\n  and more of it'

    told = redacted(log, is_cut=True)

    assert told == f"{LEFT_OUT}\nCUDA error: out of memory\n{IDLE}\n  and more of it"


def test_the_first_line_of_a_cut_log_is_left_out_even_where_it_looks_whole() -> None:
    assert redacted(f"{IDLE} {MARK}\n{IDLE}", is_cut=True) == f"{LEFT_OUT}\n{IDLE}"


@pytest.mark.parametrize("log", sorted(LOGS.glob("*.txt")), ids=lambda path: path.stem)
def test_what_servers_say_when_they_fail_stays_whole(log: Path) -> None:
    assert redacted(log.read_text()) == log.read_text().rstrip("\n")


def test_a_line_longer_than_servers_write_is_cut() -> None:
    told = redacted("x" * 1000)

    assert told == "x" * LONGEST_LINE + f" [and {1000 - LONGEST_LINE} characters more]"


@pytest.mark.parametrize(
    "piece", ["-key", "prompt", "key='", "a+", "\\", "[", " ", "\n", "ggml.c:1: GGML_ASSERT(a ", "/usr/"]
)
@pytest.mark.parametrize("width", [60, 2 * LONGEST_LINE, LOG_BYTES])
def test_no_log_takes_long(piece: str, width: int) -> None:
    line = (piece * width)[:width]
    log = (f"{line}\n" * LOG_BYTES)[:LOG_BYTES]
    started = time.thread_time()

    redacted(log, is_cut=True)
    redacted(log)

    assert time.thread_time() - started < 1.0


@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=6).filter(lambda text: len(set(text)) > 3))
def test_no_prompt_is_kept_however_it_is_spelled(prompt: str) -> None:
    line = " ".join(prompt.split())

    assert redacted(f'prompt: "{line}"') == LEFT_OUT


@given(
    first=st.sampled_from([REQUEST, "Parsing input with format Content-only:", '{"messages":[{"content":"', None]),
    users=st.lists(st.tuples(st.sampled_from(LIKE_A_SERVERS), TEXTS), min_size=1, max_size=6),
    servers=st.sampled_from(FRAMED),
)
def test_no_line_of_a_prompt_is_kept_and_the_servers_next_one_is(
    first: str | None, users: list[tuple[str, str]], servers: str
) -> None:
    lines = [f"{beginning}{text}" for beginning, text in users]
    log = "\n".join([first or MARK, *lines, servers])

    told = redacted(log, is_cut=first is None)

    assert MARK not in told
    assert told.splitlines()[-1] == servers


@given(secret=st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=10), line=st.sampled_from(FRAMED))
def test_no_secret_stays_within_a_servers_line(secret: str, line: str) -> None:
    told = redacted(f"{line} api_key={MARK}{secret} HF_TOKEN: '{MARK}{secret}' hf_{MARK}{secret}")

    assert MARK not in told
    assert told.startswith(line)
