"""What the end of a log tells, on logs of real servers (`tests/fixtures/logs/README.md` says whose)."""

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.core.cause import MOST_SAID, Cause, Finding
from supervisor.core.cause_logs import had_come_up, read_log

LOGS = Path(__file__).parents[1] / "fixtures" / "logs"
MISSING = "gguf_init_from_file: failed to open GGUF file '/models/a.gguf' (No such file or directory)\n"
CORRUPT = "gguf_init_from_reader: failed to read header\n"
NO_VRAM = "alloc_tensor_range: failed to allocate CUDA0 buffer of size 1040187392\n"
LOADING = "srv    load_model: loading model '/models/a.gguf'\n"
UP = "main: server is listening on http://0.0.0.0:8080 - starting the main loop\n"
ANSWERED = "0.00.238.030 I slot print_timing: id  0 | task 0 |        eval time =       0.91 ms /     4 tokens\n"
TALK = "slot update_slots: id  0 | task 7 | new prompt\n"


def found(log: str, *, is_up: bool = False) -> Finding:
    finding = read_log(log, is_up=is_up)
    assert finding is not None
    return finding


@pytest.mark.parametrize(
    ("name", "cause", "says"),
    [
        ("llama_cpp_missing", Cause.MODEL_MISSING, "the model file does not exist: /models/missing.gguf"),
        ("llama_cpp_2025_missing", Cause.MODEL_MISSING, "cannot be opened: /models/gemma-3-12b-it-qat-q4_0.gguf"),
        ("llama_cpp_2024_missing", Cause.MODEL_MISSING, "does not exist: /Yi-34B-GGUF/yi-34b.Q5_K_M.gguf"),
        ("llama_cpp_no_projector", Cause.MODEL_MISSING, "the model file does not exist: /models/nope.gguf"),
        ("llama_cpp_unreadable", Cause.MODEL_MISSING, "the model file may not be read: /models/private.gguf"),
        ("llama_cpp_truncated", Cause.MODEL_CORRUPT, "corrupt or cut off: /models/truncated.gguf"),
        ("llama_cpp_corrupt", Cause.MODEL_CORRUPT, "corrupt or cut off: /models/corrupt.gguf"),
        ("llama_cpp_bad_projector", Cause.MODEL_CORRUPT, "corrupt or cut off: /models/corrupt.gguf"),
        ("llama_cpp_empty", Cause.MODEL_CORRUPT, "no GGUF file, or empty: /models/empty.gguf"),
        ("llama_cpp_no_tensor", Cause.MODEL_CORRUPT, "corrupt or cut off: /models/notensor.gguf"),
        ("llama_cpp_unknown_kind", Cause.MODEL_CORRUPT, "not know this kind of model (lxyza): /models/arch.gguf"),
        ("llama_cpp_port", Cause.PORT_TAKEN, "cannot listen on 203.0.113.7 port 18999"),
        ("llama_cpp_no_memory", Cause.OOM_KILLED, "no room for its context in memory"),
        ("llama_cpp_no_vram", Cause.OUT_OF_VRAM, "no room for 992 MiB on CUDA0"),
        ("llama_cpp_no_vram_later", Cause.OUT_OF_VRAM, "no room for 1.2 GiB on CUDA3"),
        ("llama_cpp_cuda_error", Cause.CRASHED, "an illegal memory access was encountered"),
        ("llama_cpp_2025_cuda_error", Cause.CRASHED, "an illegal memory access was encountered"),
        ("llama_cpp_no_gpu", Cause.GPU_LOST, "it found no GPU: no CUDA-capable device is detected"),
        ("llama_cpp_ecc", Cause.GPU_LOST, "uncorrectable ECC error encountered"),
        ("llama_cpp_assert", Cause.CRASHED, "an assertion of its own failed: buffer (ggml-backend.cpp:179)"),
        ("llama_cpp_value", Cause.BAD_FLAG, "--flash-attn has no value that it may have"),
        ("llama_cpp_flag", Cause.BAD_FLAG, "the server does not know the flag --nonsense"),
        ("llama_cpp_2024_flag", Cause.BAD_FLAG, "the server does not know the flag --mmproj"),
        ("loader_no_cuda", Cause.GPU_LOST, "the GPU driver's library libcuda.so.1 is not there"),
        ("loader_no_library", Cause.UNKNOWN, "its image lacks the library libgomp.so.1"),
        ("vllm_no_vram", Cause.OUT_OF_VRAM, "only 3.22 of 4.0 GiB are free on the GPU"),
        ("vllm_worker_no_vram", Cause.OUT_OF_VRAM, "only 111.99 of 139.8 GiB are free on the GPU"),
        ("vllm_no_cache", Cause.OUT_OF_VRAM, "no room for its cache on the GPU"),
        ("vllm_no_request", Cause.OUT_OF_VRAM, "no room for one request of full length on the GPU"),
        ("torch_no_vram", Cause.OUT_OF_VRAM, "no room for 2.00 GiB on the GPU"),
        ("vllm_no_model", Cause.MODEL_MISSING, "no model neuralmagic/Meta-Llama-3-8B-Instruct-FP8-dynamic"),
        ("vllm_port", Cause.PORT_TAKEN, "0.0.0.0 port 8000 is taken"),
        ("vllm_port_early", Cause.PORT_TAKEN, "its port is taken"),
        ("vllm_flag", Cause.BAD_FLAG, "the server does not know the flag --num-scheduler-steps"),
        ("ollama_no_memory", Cause.OOM_KILLED, "the model needs 63.6 GiB of memory and 18.9 GiB are free"),
        ("ollama_no_vram", Cause.OUT_OF_VRAM, "no room for a model on the GPU"),
        ("ollama_runner_died", Cause.CRASHED, "an illegal memory access was encountered"),
        ("ollama_port", Cause.PORT_TAKEN, "its port is taken"),
    ],
)
def test_real_logs_tell_what_was_wrong(name: str, cause: Cause, says: str) -> None:
    finding = found((LOGS / f"{name}.txt").read_text())

    assert finding.cause is cause
    assert says in finding.says


def test_each_recorded_log_is_asked_for() -> None:
    (table,) = test_real_logs_tell_what_was_wrong.pytestmark  # type: ignore[attr-defined]

    assert {f"{name}.txt" for name, _, _ in table.args[1]} == {path.name for path in LOGS.glob("*.txt")}


@pytest.mark.parametrize("log", ["", "\n\n", LOADING + UP + ANSWERED, TALK * 50])
def test_a_log_without_trouble_tells_nothing(log: str) -> None:
    assert read_log(log, is_up=False) is None


def test_the_last_sentence_of_the_same_weight_counts() -> None:
    assert found(MISSING + CORRUPT).cause is Cause.MODEL_CORRUPT
    assert found(CORRUPT + MISSING).cause is Cause.MODEL_MISSING


def test_a_hint_gives_way_to_what_is_told_exactly_wherever_it_stands() -> None:
    hint = "llama_model_load: error loading model: unable to allocate CUDA0 buffer\n"

    finding = found(NO_VRAM + hint)

    assert (finding.says, finding.is_hint) == ("no room for 992 MiB on CUDA0", False)
    assert found(hint).is_hint


def test_a_failure_to_load_that_nothing_explains_is_a_hint_that_names_the_file() -> None:
    finding = found("srv    load_model: failed to load model, '/models/a.gguf'\n")

    assert (finding.cause, finding.is_hint) == (Cause.NEVER_READY, True)
    assert finding.says == "it could not load its model: /models/a.gguf"


def test_what_was_wrong_in_an_earlier_life_is_past() -> None:
    assert read_log(MISSING + LOADING, is_up=False) is None


def test_what_was_wrong_before_it_came_up_is_past() -> None:
    assert read_log("ggml_cuda_init: failed to initialize CUDA: unknown error\n" + UP, is_up=False) is None


def test_what_went_wrong_before_somebody_got_an_answer_did_not_last() -> None:
    assert found(UP + NO_VRAM).cause is Cause.OUT_OF_VRAM
    assert read_log(UP + NO_VRAM + ANSWERED, is_up=False) is None


@pytest.mark.parametrize(
    "answer",
    [
        'INFO:     127.0.0.1:51234 - "POST /v1/chat/completions HTTP/1.1" 200 OK\n',
        '[GIN] 2025/04/14 - 20:20:32 | 200 |    4.2413769s |       127.0.0.1 | POST     "/api/generate"\n',
        "prompt eval time =       5.52 ms /    37 tokens\n",
    ],
)
def test_every_servers_way_to_note_an_answer_is_known(answer: str) -> None:
    assert read_log(NO_VRAM + answer, is_up=False) is None


def test_a_failed_start_is_told_by_the_last_lines_even_where_nothing_marks_a_new_life() -> None:
    assert found(LOADING + UP + "error: invalid argument: --nonsense\n").cause is Cause.BAD_FLAG


def test_words_of_a_start_in_the_midst_of_a_life_are_somebodys_words() -> None:
    assert read_log(LOADING + UP + MISSING + TALK * 20, is_up=False) is None


def test_a_server_that_is_up_cannot_have_failed_to_start() -> None:
    assert read_log(MISSING, is_up=True) is None
    assert found(NO_VRAM, is_up=True).cause is Cause.OUT_OF_VRAM


@pytest.mark.parametrize(
    "line",
    [
        "srv  params_from_: prompt: why does it say CUDA error: GPU is lost\n",
        "my log says alloc_tensor_range: failed to allocate CUDA0 buffer of size 1040187392\n",
        'time=2025-04-14T20:20:32Z level=DEBUG source=r.go:1 msg="chat" prompt="cudaMalloc failed: out of memory"\n',
    ],
)
def test_a_sentence_inside_a_line_is_somebodys_words(line: str) -> None:
    assert read_log(line, is_up=False) is None


@pytest.mark.parametrize(
    "log",
    [
        "error: unrecognized arguments: --api-kee SECRET\n",
        "error: unrecognized arguments: --api-kee=SECRET\n",
        "error: unrecognized arguments: SECRET\n",
        "error: invalid argument: SECRET\n",
        "error: argument --threads: invalid int value: 'SECRET'\n",
        'error while handling argument "--api-key-file": error: failed to open SECRET\n',
        'error while handling environment variable "LLAMA_API_KEY": SECRET\n',
    ],
)
def test_no_value_of_a_flag_is_ever_shown(log: str) -> None:
    finding = found(log)

    assert finding.cause is Cause.BAD_FLAG
    assert "SECRET" not in finding.says + finding.cure


def test_colours_are_no_part_of_a_sentence() -> None:
    assert found("\x1b[31m" + MISSING + "\x1b[0m").cause is Cause.MODEL_MISSING


def test_a_long_path_is_shortened() -> None:
    finding = found(f"gguf_init_from_file: failed to open GGUF file '/{'m' * 250}.gguf' (No such file or directory)\n")

    assert finding.says.startswith("the model file does not exist: /mmm")
    assert len(finding.says) <= MOST_SAID


def test_only_the_end_of_a_long_log_is_read() -> None:
    assert read_log("so it goes\n" + CORRUPT + "so it goes\n" * 2000, is_up=False) is None
    assert found("so it goes\n" * 2000 + CORRUPT).cause is Cause.MODEL_CORRUPT


@pytest.mark.parametrize(
    ("log", "expected"),
    [("", False), (LOADING, False), (LOADING + UP, True), (LOADING + UP + LOADING, False), (ANSWERED, True)],
)
def test_a_log_tells_whether_its_present_life_came_up(log: str, expected: bool) -> None:
    assert had_come_up(log) is expected


RECORDED = [path.read_text() for path in sorted(LOGS.glob("*.txt"))]
PIECES = [piece for log in RECORDED for line in log.splitlines() for piece in (line, line[: len(line) // 2])]


@given(st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=60)), max_size=40).map("\n".join), st.booleans())
def test_whatever_is_printed_is_read_without_trouble(log: str, is_up: bool) -> None:
    finding = read_log(log, is_up=is_up)

    assert finding is None or (len(finding.says) <= MOST_SAID and finding.says.isprintable())


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(
        [*PIECES, "a: ", "a/", "[1] ", "(a) ", "error loading model: ", "listen tcp ", "/a.b:1: GGML_ASSERT("]
    ),
    st.sampled_from(["", "a", " ", ":", "'", "(", "1", "/", "."]),
)
def test_no_log_takes_long_to_read(piece: str, filler: str) -> None:
    line = piece + (filler or piece) * 400
    log = "\n".join([line] * 40)

    began = time.process_time()
    read_log(log, is_up=False)

    assert time.process_time() - began < 2.0  # of CPU; it takes some milliseconds


OLLAMA = 'time=2025-04-14T20:20:32Z level={level} source=server.go:1 msg="{words}"\n'


def test_an_ollama_that_starts_a_runner_has_begun_anew() -> None:
    out_of_memory = OLLAMA.format(level="ERROR", words="cudaMalloc failed: out of memory")

    assert read_log(out_of_memory + OLLAMA.format(level="INFO", words="starting runner"), is_up=True) is None


def test_an_ollamas_other_errors_tell_nothing() -> None:
    assert read_log(OLLAMA.format(level="ERROR", words="a sentence that nobody knows"), is_up=True) is None
