"""The stand-in for llama-server: its flags, and how it ends."""

import signal
import subprocess
from pathlib import Path

import httpx
import pytest

from supervisor.probes import pictures
from testbed import tiny_model, tiny_projector
from testbed.clients import busy, chat, chat_body, free_port, wait_until
from testbed.process_servers import server_command
from testbed.servers import ProcessServers

STILL_THERE_S = 3.0  # a healthy one is gone in a hundredth of that


def refused_start(*flags: str, model: Path | str = "none.gguf") -> tuple[int, str]:
    ended = subprocess.run(server_command(Path(model), free_port(), *flags), capture_output=True, text=True, timeout=30)
    return ended.returncode, ended.stderr


def test_a_healthy_server_leaves_on_sigterm_with_status_0(process_servers: ProcessServers, model: Path) -> None:
    process_servers.run("healthy", model)

    process_servers.process("healthy").send_signal(signal.SIGTERM)

    assert process_servers.process("healthy").wait(10) == 0


def test_a_frozen_server_ignores_sigterm_and_leaves_when_released(process_servers: ProcessServers, model: Path) -> None:
    url = process_servers.run("frozen", model)
    process = process_servers.process("frozen")

    with process_servers.freeze("frozen"):
        process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(STILL_THERE_S)
        healthy = httpx.get(f"{url}/health").status_code

    assert healthy == 200
    assert process.wait(10) == 0


def test_a_frozen_server_told_to_obey_leaves_on_sigterm(process_servers: ProcessServers, model: Path) -> None:
    process_servers.run("obedient", model, "--obey-sigterm")
    process = process_servers.process("obedient")

    with process_servers.freeze("obedient"):
        process.send_signal(signal.SIGTERM)

        assert process.wait(10) == 0


def test_a_second_sigterm_ends_a_frozen_server_at_once(process_servers: ProcessServers, model: Path) -> None:
    process_servers.run("twice", model)
    process = process_servers.process("twice")

    with process_servers.freeze("twice"):
        process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        process.send_signal(signal.SIGTERM)

        assert process.wait(10) != 0


def test_a_missing_model_file_ends_with_status_1_and_says_so() -> None:
    status, log = refused_start(model="/nowhere/model.gguf")

    assert status == 1
    assert "failed to load model" in log


def test_a_corrupt_model_file_ends_with_status_1(tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"GGUF" + bytes(400))

    status, log = refused_start(model=tmp_path / "bad.gguf")

    assert status == 1
    assert "failed to load model" in log


def test_a_flag_that_nobody_knows_ends_with_status_1_and_is_named(model: Path) -> None:
    status, log = refused_start("--no-such-flag", model=model)

    assert status == 1
    assert "--no-such-flag" in log


def test_flags_of_the_real_command_lines_are_taken(process_servers: ProcessServers, model: Path) -> None:
    flags = "-np 2 -c 8192 -a code,coder -ngl 99 -t 1 -b 512 -ub 256 --cache-ram 0 --metrics --jinja --no-warmup"

    url = process_servers.run("flags", model, *flags.split())

    assert httpx.get(f"{url}/props").json()["total_slots"] == 2
    assert httpx.get(f"{url}/metrics").status_code == 200
    assert httpx.get(f"{url}/v1/models").json()["data"][0]["id"] in {"code", "coder"}


def test_metrics_are_off_and_slots_on_unless_said_otherwise(process_servers: ProcessServers, model: Path) -> None:
    plain, shut = process_servers.run("plain", model), process_servers.run("shut", model, "--no-slots")

    assert httpx.get(f"{plain}/metrics").status_code == 501
    assert httpx.get(f"{plain}/slots").status_code == 200
    assert httpx.get(f"{shut}/slots").status_code == 501


def test_an_api_key_guards_all_but_health(process_servers: ProcessServers, model: Path) -> None:
    url = process_servers.run("guarded", model, "--api-key", "open sesame")

    assert httpx.get(f"{url}/health").status_code == 200
    assert httpx.get(f"{url}/slots").status_code == 401
    assert httpx.get(f"{url}/slots", headers={"Authorization": "Bearer open sesame"}).status_code == 200


def test_the_official_environment_variables_are_read(process_servers: ProcessServers, model: Path) -> None:
    url = process_servers.run("variables", model, env={"LLAMA_ARG_N_PARALLEL": "3", "LLAMA_ARG_ALIAS": "planner"})

    assert httpx.get(f"{url}/props").json()["total_slots"] == 3
    assert httpx.get(f"{url}/v1/models").json()["data"][0]["id"] == "planner"


def test_a_real_projector_lets_the_server_look_at_pictures(process_servers: ProcessServers, model: Path) -> None:
    url = process_servers.run("vision", model, "--mmproj", str(tiny_projector.ensure()))
    picture = {"type": "image_url", "image_url": {"url": pictures.as_url(b"red")}}
    body = {"messages": [{"role": "user", "content": [picture]}], "max_tokens": 2}

    answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=30.0)

    assert answer.status_code == 200, answer.text
    assert answer.json()["usage"]["prompt_tokens"] > tiny_projector.PICTURE_TOKENS


def test_embeddings_are_made_when_told_to_and_pooled(process_servers: ProcessServers, model: Path) -> None:
    pooled = process_servers.run("pooled", model, "--embeddings", "--pooling", "mean")
    loose, plain = process_servers.run("loose", model, "--embedding"), process_servers.run("plain", model)

    answers = [httpx.post(f"{url}/v1/embeddings", json={"input": "hi"}) for url in (pooled, loose, plain)]

    assert [answer.status_code for answer in answers] == [200, 400, 501]
    assert len(answers[0].json()["data"][0]["embedding"]) == tiny_model.TINY.embd


def test_poisoned_weights_make_embeddings_without_a_number(process_servers: ProcessServers) -> None:
    url = process_servers.run("nan", tiny_model.ensure(answer="nan"), "--embeddings", "--pooling", "mean")

    answer = httpx.post(f"{url}/v1/embeddings", json={"input": "hi"})

    assert set(answer.json()["data"][0]["embedding"]) == {None}


def test_another_chat_template_takes_the_place_of_the_models(process_servers: ProcessServers, model: Path) -> None:
    picky = "{%- if 'ping' in messages[-1]['content'] -%}{{ raise_exception('no pings') }}{%- endif -%}hello"
    url = process_servers.run("picky", model, "--chat-template", picky)

    answers = [httpx.post(f"{url}/v1/chat/completions", json=chat_body(text)) for text in ("hello", "ping")]

    assert [answer.status_code for answer in answers] == [200, 400]


@pytest.mark.parametrize("content", [None, "not a model"], ids=["missing", "corrupt"])
def test_a_projector_that_cannot_be_read_ends_with_status_1_and_is_named(
    model: Path, tmp_path: Path, content: str | None
) -> None:
    projector = tmp_path / "mmproj.gguf"
    if content is not None:
        projector.write_text(content)

    status, log = refused_start("--mmproj", str(projector), model=model)

    assert status == 1
    assert str(projector) in log


def test_an_idle_server_falls_asleep_when_told_to(process_servers: ProcessServers, model: Path) -> None:
    url = process_servers.run("sleepy", model, "--sleep-idle-seconds", "1")

    wait_until(lambda: bool(httpx.get(f"{url}/props").json()["is_sleeping"]), "asleep", within_s=15)
    assert chat(url)


def test_a_model_may_answer_with_nothing_at_all(process_servers: ProcessServers) -> None:
    url = process_servers.run("empty", tiny_model.ensure(answer="eos"))

    assert chat(url) == ""


def test_a_poisoned_model_answers_garbage_with_status_200(process_servers: ProcessServers) -> None:
    url = process_servers.run("poisoned", tiny_model.ensure(answer="nan"))

    said = chat(url, max_tokens=16)

    assert not any(f" {word}" in said for word in tiny_model.WORDS)


def test_a_busy_client_keeps_a_slot_generating_and_frees_it_when_it_hangs_up(
    process_servers: ProcessServers, model: Path
) -> None:
    url = process_servers.run("busy", model, "-c", "65536")

    with busy(url) as client:
        client.wait_first_token()
        working = httpx.get(f"{url}/slots").json()[0]["is_processing"]

    assert working
    assert chat(url, timeout_s=30)
