"""What is made of an exit, an engine's words and a log together: the cause, its cure, and whether a restart helps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.cause import MOST_SAID, STANDING, Cause, Diagnosis
from supervisor.core.diagnose import GONE, diagnose
from supervisor.core.observations import EngineSeen, Life
from supervisor.core.verdict import Judgement, Verdict

GIB = 1024**3
MISSING = "gguf_init_from_file: failed to open GGUF file '/models/a.gguf' (No such file or directory)\n"
NO_VRAM = "alloc_tensor_range: failed to allocate CUDA0 buffer of size 1040187392\n"
CUDA_ERROR = "CUDA error: an illegal memory access was encountered\n"
ASSERTION = "/src/ggml-backend.cpp:179: GGML_ASSERT(buffer) failed\n"
NOT_LOADED = "srv    load_model: failed to load model, '/models/a.gguf'\n"
UP = "main: server is listening on http://0.0.0.0:8080 - starting the main loop\n"
PORT_WORDS = "Bind for 127.0.0.1:8091 failed: port is already allocated"

DOWN = Judgement(verdict=Verdict.DOWN, reason="Exited", message="exited")
HUNG = Judgement(verdict=Verdict.HUNG, reason="CountersStanding", message="no progress, cpu idle")
FAILING = Judgement(verdict=Verdict.FAILING, reason="BadAnswers", message="500: Compute error.")
NEVER_READY = Judgement(verdict=Verdict.HUNG, reason="NeverReady", message="still loading its model")
RUNNING = EngineSeen(life=Life.RUNNING, instance="a@1")


def exited(code: int | None, *, detail: str = "", oom_killed: bool = False) -> EngineSeen:
    return EngineSeen(life=Life.EXITED, instance="a@1", exit_code=code, detail=detail, oom_killed=oom_killed)


def after(code: int | None, log: str = "", *, detail: str = "", engine_error: str = "") -> Diagnosis:
    seen = exited(code, detail=detail)
    return diagnose(judgement=DOWN, engine=seen, engine_error=engine_error, log_tail=log)


def while_running(judgement: Judgement, log: str = "", *, is_detached: bool = False) -> Diagnosis:
    return diagnose(judgement=judgement, engine=RUNNING, engine_error="", log_tail=log, is_detached=is_detached)


@pytest.mark.parametrize(
    ("code", "signal"), [(132, "SIGILL"), (134, "SIGABRT"), (135, "SIGBUS"), (136, "SIGFPE"), (139, "SIGSEGV")]
)
def test_a_fault_is_a_crash_by_its_signals_name(code: int, signal: str) -> None:
    told = after(code)

    assert told == Diagnosis(
        cause=Cause.CRASHED, says=f"exited with {signal} ({code})", cure="", helps_restart=True, signal=signal
    )


def test_a_signal_without_a_name_is_told_by_its_number() -> None:
    assert after(128 + 40).says == "exited with signal 40 (168)"


@pytest.mark.parametrize(("code", "signal"), [(137, "SIGKILL"), (143, "SIGTERM"), (130, "SIGINT"), (129, "SIGHUP")])
def test_a_signal_that_somebody_sent_is_no_crash(code: int, signal: str) -> None:
    told = after(code, NO_VRAM)

    assert (told.cause, told.signal, told.helps_restart) == (Cause.KILLED_FROM_OUTSIDE, signal, True)
    assert "pkill" in told.cure


def test_a_kill_for_want_of_memory_is_told_by_the_engine() -> None:
    told = diagnose(judgement=DOWN, engine=exited(137, oom_killed=True), engine_error="", log_tail="")

    assert (told.cause, told.signal, told.helps_restart) == (Cause.OOM_KILLED, "SIGKILL", True)
    assert "memory limit" in told.cure


def test_an_exit_with_a_code_is_explained_by_the_log() -> None:
    told = after(1, MISSING)

    assert (told.cause, told.helps_restart) == (Cause.MODEL_MISSING, False)
    assert told.says == "the model file does not exist: /models/a.gguf"


def test_what_the_log_tells_exactly_wins_over_the_signal_that_followed() -> None:
    told = after(134, NO_VRAM + ASSERTION)

    assert (told.cause, told.signal, told.helps_restart) == (Cause.OUT_OF_VRAM, "SIGABRT", False)


@pytest.mark.parametrize(
    ("log", "says"),
    [
        (CUDA_ERROR, "exited with SIGABRT (134): an error on the GPU: an illegal memory access was encountered"),
        (ASSERTION, "exited with SIGABRT (134): an assertion of its own failed: buffer (ggml-backend.cpp:179)"),
    ],
)
def test_a_crash_is_told_with_its_last_words(log: str, says: str) -> None:
    told = after(134, log)

    assert (told.cause, told.says, told.helps_restart) == (Cause.CRASHED, says, True)


def test_an_exit_that_nothing_explains_is_a_crash_with_its_code() -> None:
    told = after(3)

    assert (told.cause, told.says, told.cure, told.signal) == (Cause.CRASHED, "exited with code 3", "", None)


@pytest.mark.parametrize("code", [126, 127])
def test_a_command_that_cannot_be_run_is_a_bad_one(code: int) -> None:
    told = after(code)

    assert (told.cause, told.helps_restart) == (Cause.BAD_FLAG, False)
    assert "otherwise in its unit, or in settings.toml" in told.cure  # not everything is a container


def test_what_a_restarted_engine_found_dead_is_no_fault_of_the_target() -> None:
    told = after(255)

    assert (told.cause, told.helps_restart) == (Cause.ENGINE_LOST, True)


def test_a_server_that_left_in_good_order_was_told_to() -> None:
    assert after(0, UP).cause is Cause.KILLED_FROM_OUTSIDE


def test_an_end_without_an_error_that_nothing_explains_stays_unknown() -> None:
    assert after(0).cause is Cause.UNKNOWN
    assert after(None, detail="nobody saw how it ended").says == "it does not run: nobody saw how it ended"


@pytest.mark.parametrize("place", ["detail", "engine_error"])
def test_why_the_engine_could_not_start_it_wins_over_an_old_log(place: str) -> None:
    told = after(128, MISSING, **{place: PORT_WORDS})

    assert (told.cause, told.helps_restart) == (Cause.PORT_TAKEN, False)
    assert told.says == "127.0.0.1:8091 is taken by another container"


def test_a_failed_start_of_long_ago_says_nothing_of_a_target_that_runs() -> None:
    seen = EngineSeen(life=Life.RUNNING, instance="a@1", detail=PORT_WORDS)

    assert diagnose(judgement=HUNG, engine=seen, engine_error="", log_tail="").cause is Cause.HUNG


def test_an_engine_that_tells_nothing_is_lost() -> None:
    told = diagnose(judgement=DOWN, engine=None, engine_error="", log_tail="")

    assert (told.cause, told.helps_restart) == (Cause.ENGINE_LOST, False)


def test_our_own_blindness_is_nobodys_fault() -> None:
    blind = Judgement(verdict=Verdict.UNKNOWN, reason="CannotLook", message="we cannot look: no file handles")

    assert diagnose(judgement=blind, engine=None, engine_error="", log_tail="").cause is Cause.UNKNOWN


def test_a_target_that_does_not_exist_has_to_be_made() -> None:
    gone = Judgement(verdict=Verdict.STOPPED, reason="Missing", message="its engine has nothing of that name")

    told = diagnose(judgement=gone, engine=EngineSeen(life=Life.MISSING), engine_error="", log_tail="")

    assert (told.cause, told.helps_restart) == (Cause.UNKNOWN, False)
    assert "compose up" in told.cure


def test_a_container_without_its_network_has_to_be_connected() -> None:
    told = while_running(DOWN, is_detached=True)

    assert (told.cause, told.helps_restart) == (Cause.NETWORK_DETACHED, False)


@pytest.mark.parametrize(
    ("judgement", "cause"),
    [(HUNG, Cause.HUNG), (FAILING, Cause.FAILING), (NEVER_READY, Cause.NEVER_READY), (DOWN, Cause.UNKNOWN)],
)
def test_a_target_that_runs_is_told_by_its_verdict(judgement: Judgement, cause: Cause) -> None:
    told = while_running(judgement)

    assert told == Diagnosis(cause=cause, says=judgement.message, cure="", helps_restart=True)


def test_a_hang_after_an_error_on_the_gpu_tells_of_it() -> None:
    told = while_running(HUNG, CUDA_ERROR)

    assert told.cause is Cause.HUNG
    assert told.says == "no progress, cpu idle, after an error on the GPU: an illegal memory access was encountered"


def test_a_running_server_without_room_on_the_gpu_may_hold_it_itself() -> None:
    told = while_running(FAILING, NO_VRAM)

    assert (told.cause, told.helps_restart) == (Cause.OUT_OF_VRAM, True)


def test_a_running_server_that_has_lost_its_gpu_is_not_helped_by_a_restart() -> None:
    told = while_running(HUNG, "CUDA error: GPU is lost\n")

    assert (told.cause, told.helps_restart) == (Cause.GPU_LOST, False)


def test_why_a_server_never_became_ready_is_told_by_its_log() -> None:
    told = while_running(NEVER_READY, MISSING)

    assert (told.cause, told.helps_restart) == (Cause.MODEL_MISSING, False)


def test_a_server_that_runs_did_not_fail_to_start() -> None:
    assert while_running(HUNG, MISSING).cause is Cause.HUNG


def test_a_refused_canary_is_a_matter_of_settings() -> None:
    denied = Judgement(verdict=Verdict.MISCONFIGURED, reason="CanaryDenied", message="the canary is refused: 401")

    told = while_running(denied)

    assert (told.says, told.helps_restart) == ("the canary is refused: 401", False)
    assert "settings.toml" in told.cure


@pytest.mark.parametrize(
    ("used_gib", "cause"), [(11.9, Cause.OUT_OF_VRAM), (2.0, Cause.NEVER_READY)], ids=["full", "room"]
)
def test_a_model_that_could_not_be_loaded_next_to_a_full_gpu_had_no_room(used_gib: float, cause: Cause) -> None:
    told = diagnose(
        judgement=DOWN,
        engine=exited(1),
        engine_error="",
        log_tail=NOT_LOADED,
        gpu_used_bytes=int(used_gib * GIB),
        gpu_total_bytes=12 * GIB,
    )

    assert told.cause is cause
    assert told.helps_restart is (cause is not Cause.OUT_OF_VRAM)


def test_want_of_room_on_the_gpu_is_told_with_what_is_free() -> None:
    told = diagnose(
        judgement=DOWN,
        engine=exited(1),
        engine_error="",
        log_tail=NO_VRAM,
        gpu_used_bytes=int(11.5 * GIB),
        gpu_total_bytes=12 * GIB,
    )

    assert told.says == "no room for 992 MiB on CUDA0; 512 MiB of 12.0 GiB are free"


CODES = st.one_of(st.none(), st.integers(min_value=-300, max_value=300))
LOGS = st.lists(st.sampled_from([MISSING, NO_VRAM, CUDA_ERROR, ASSERTION, NOT_LOADED, UP, "so it goes\n"])).map("".join)
JUDGEMENTS = st.sampled_from([DOWN, HUNG, FAILING, NEVER_READY])


@given(CODES, st.sampled_from(Life), LOGS, JUDGEMENTS, st.sampled_from(["", PORT_WORDS, "words"]), st.booleans())
def test_every_diagnosis_can_be_told_and_names_a_cure_where_a_restart_is_none(
    code: int | None, life: Life, log: str, judgement: Judgement, engine_error: str, oom_killed: bool
) -> None:
    seen = EngineSeen(life=life, instance="a@1", exit_code=code, oom_killed=oom_killed)

    told = diagnose(judgement=judgement, engine=seen, engine_error=engine_error, log_tail=log)

    assert told.says
    assert len(told.says) <= MOST_SAID
    assert told.helps_restart or told.cure
    assert life not in GONE or told.cause not in STANDING or not told.helps_restart
