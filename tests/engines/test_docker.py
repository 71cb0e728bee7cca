"""What only containers can do, on the Docker engine that is there: operators, pauses, removals, ports, memory."""

import asyncio
import signal
import time

import pytest
from docker.models.containers import Container

from supervisor.core.observations import EngineSeen, Life
from supervisor.engines.docker import DockerEngine
from supervisor.errors import EngineRefused
from testbed.clients import free_port
from testbed.engine import find
from tests.engines.bench import EXITS, IGNORES, OBEYS, PATIENCE_S, TIMEOUT_S, DockerBench, become, start, ups, watching


def by_operator(containers: DockerBench, name: str) -> Container:
    """Return the SDK's own hold on a container: what an operator does with `docker`."""
    return containers.client.containers.get(name)


async def lives(containers: DockerBench, name: str, life: Life) -> EngineSeen:
    async def find_it() -> EngineSeen | None:
        seen = await containers.engine.inspect(name)
        return seen if seen.life is life else None

    seen: EngineSeen = await become(f"{name} is {life}", find_it)
    return seen


async def in_backoff(containers: DockerBench, name: str) -> None:
    """Wait until the engine itself waits for a while before its next try, so that there is time to meddle."""

    async def waits() -> bool:
        state = containers.client.api.inspect_container(name)
        return bool(state["State"]["Restarting"] and state["RestartCount"] >= 4)

    await become(f"{name} is in its engine's backoff", waits, within_s=PATIENCE_S)


async def test_a_stop_by_hand_is_the_operators(containers: DockerBench) -> None:
    name = containers.make(OBEYS)
    await start(containers, name)
    async with watching(containers.engine) as changes:
        await asyncio.to_thread(by_operator(containers, name).stop)
        await changes.wait_for(name, "stop")

        seen = await containers.engine.inspect(name)

    assert (seen.life, seen.stopped_by_operator) == (Life.EXITED, True)


async def test_a_stop_by_hand_that_ends_in_a_kill_is_the_operators(containers: DockerBench) -> None:
    name = containers.make(IGNORES)
    await start(containers, name)

    await asyncio.to_thread(by_operator(containers, name).stop, timeout=1)

    seen = await containers.engine.inspect(name)
    assert (seen.exit_code, seen.stopped_by_operator) == (137, True)


async def test_a_docker_kill_is_the_operators(containers: DockerBench) -> None:
    name = containers.make(OBEYS)
    await start(containers, name)

    by_operator(containers, name).kill()

    assert (await lives(containers, name, Life.EXITED)).stopped_by_operator


async def test_a_stop_by_hand_that_we_did_not_witness_is_the_operators(containers: DockerBench) -> None:
    name = containers.make(OBEYS)
    await start(containers, name)
    by_operator(containers, name).stop()
    latecomer = DockerEngine(host=find().host or "", timeout_s=TIMEOUT_S, workers=1)

    try:
        assert (await latecomer.inspect(name)).stopped_by_operator
    finally:
        await latecomer.close()


async def test_a_crash_that_we_did_not_witness_is_a_crash(containers: DockerBench) -> None:
    name = containers.make(OBEYS)
    await start(containers, name)
    await containers.signal(name, signal.SIGTERM)
    latecomer = DockerEngine(host=find().host or "", timeout_s=TIMEOUT_S, workers=1)

    try:
        await lives(containers, name, Life.EXITED)
        assert not (await latecomer.inspect(name)).stopped_by_operator
    finally:
        await latecomer.close()


async def test_a_reload_signal_by_hand_and_a_later_crash_is_a_crash(containers: DockerBench) -> None:
    name = containers.make(IGNORES)
    await start(containers, name)
    by_operator(containers, name).kill(signal="SIGHUP")

    await containers.signal(name, signal.SIGKILL)

    assert not (await lives(containers, name, Life.EXITED)).stopped_by_operator


async def test_a_reload_signal_that_ended_the_target_is_the_operators(containers: DockerBench) -> None:
    name = containers.make(
        f"import signal; signal.signal(signal.SIGHUP, lambda *_: exit(128 + signal.SIGHUP))\n{OBEYS}"
    )
    await start(containers, name)

    by_operator(containers, name).kill(signal="SIGHUP")

    seen = await lives(containers, name, Life.EXITED)
    assert (seen.exit_code, seen.stopped_by_operator) == (129, True)


async def test_an_old_stop_by_hand_does_not_excuse_a_later_crash(containers: DockerBench) -> None:
    name = containers.make(OBEYS)
    await start(containers, name)
    by_operator(containers, name).restart()
    await ups(containers, name, 2)

    await containers.signal(name, signal.SIGKILL)

    assert not (await lives(containers, name, Life.EXITED)).stopped_by_operator


async def test_a_target_that_an_operator_is_stopping_is_the_operators_already(containers: DockerBench) -> None:
    name = containers.make(IGNORES)
    await start(containers, name)
    async with watching(containers.engine) as changes:
        stop = asyncio.create_task(asyncio.to_thread(by_operator(containers, name).stop, timeout=2))
        await changes.wait_for(name, "kill")

        seen = await containers.engine.inspect(name)

        assert (seen.life, seen.stopped_by_operator) == (Life.RUNNING, True)
        await stop


async def test_a_target_that_an_operator_has_restarted_is_nobodys(containers: DockerBench) -> None:
    name = containers.make(OBEYS)
    await start(containers, name)
    async with watching(containers.engine) as changes:
        by_operator(containers, name).restart()
        await changes.wait_for(name, "restart")

        seen = await containers.engine.inspect(name)

    assert (seen.life, seen.stopped_by_operator) == (Life.RUNNING, False)


async def test_our_own_stop_and_restart_are_never_the_operators(containers: DockerBench) -> None:
    name = containers.make(IGNORES)
    await start(containers, name)
    seen: list[EngineSeen] = []

    async with watching(containers.engine) as changes:
        await containers.engine.restart(name, grace_s=0)
        await changes.wait_for(name, "restart")
        seen.append(await containers.engine.inspect(name))
        await containers.engine.stop(name, grace_s=0)
        await changes.wait_for(name, "stop")
        await changes.wait_for(name, "stop")
        seen.append(await containers.engine.inspect(name))

    assert [(each.life, each.stopped_by_operator) for each in seen] == [(Life.RUNNING, False), (Life.EXITED, False)]


async def test_after_our_own_restart_a_stop_by_hand_is_the_operators(containers: DockerBench) -> None:
    name = containers.make(OBEYS)
    await start(containers, name)
    await containers.engine.restart(name, grace_s=5)

    by_operator(containers, name).stop(timeout=1)

    assert (await containers.engine.inspect(name)).stopped_by_operator


async def test_a_pause_is_the_operators_until_it_ends(containers: DockerBench) -> None:
    name = containers.make(OBEYS)
    await start(containers, name)
    async with watching(containers.engine) as changes:
        by_operator(containers, name).pause()
        await changes.wait_for(name, "pause")
        paused = await containers.engine.inspect(name)

        by_operator(containers, name).unpause()
        await changes.wait_for(name, "unpause")
        resumed = await containers.engine.inspect(name)

    assert (paused.life, paused.stopped_by_operator) == (Life.PAUSED, True)
    assert (resumed.life, resumed.stopped_by_operator) == (Life.RUNNING, False)
    assert paused.instance == resumed.instance


async def test_starting_a_paused_target_lets_it_go_on(containers: DockerBench) -> None:
    name = containers.make(OBEYS)
    await start(containers, name)
    before = await containers.engine.inspect(name)
    by_operator(containers, name).pause()

    await containers.engine.start(name)

    seen = await containers.engine.inspect(name)
    assert (seen.life, seen.instance) == (Life.RUNNING, before.instance)


@pytest.mark.parametrize("code", [pytest.param(OBEYS, id="obedient"), pytest.param(IGNORES, id="deaf")])
async def test_a_paused_target_can_be_stopped(containers: DockerBench, code: str) -> None:
    name = containers.make(code)
    await start(containers, name)
    by_operator(containers, name).pause()

    await containers.engine.stop(name, grace_s=1)

    seen = await containers.engine.inspect(name)
    assert (seen.life, seen.stopped_by_operator) == (Life.EXITED, False)


async def test_a_paused_target_can_be_restarted(containers: DockerBench) -> None:
    name = containers.make(IGNORES)
    await start(containers, name)
    by_operator(containers, name).pause()

    await containers.engine.restart(name, grace_s=1)

    await ups(containers, name, 2)
    assert (await containers.engine.inspect(name)).life is Life.RUNNING


async def test_the_engines_own_restarts_show_as_restarting(containers: DockerBench) -> None:
    name = containers.make(EXITS, restart_policy={"Name": "always"})
    await containers.engine.start(name)

    seen = await lives(containers, name, Life.RESTARTING)

    assert not seen.stopped_by_operator


@pytest.mark.parametrize("verb", ["stop", "kill"])  # the latter leaves no event at all
async def test_a_stop_by_hand_between_two_restarts_of_the_engines_own_is_the_operators(
    containers: DockerBench, verb: str
) -> None:
    name = containers.make(EXITS, restart_policy={"Name": "unless-stopped"})
    await containers.engine.start(name)
    await in_backoff(containers, name)

    getattr(by_operator(containers, name), verb)()

    assert (await lives(containers, name, Life.EXITED)).stopped_by_operator


async def test_out_of_memory_is_told_and_is_a_crash(containers: DockerBench) -> None:
    name = containers.make("hog = bytearray(200_000_000)", mem_limit="24m")
    await containers.engine.start(name)

    seen = await lives(containers, name, Life.EXITED)

    assert (seen.exit_code, seen.oom_killed, seen.stopped_by_operator) == (137, True, False)


async def test_a_removed_target_is_missing_and_the_watch_says_so(containers: DockerBench) -> None:
    name = containers.make(OBEYS)
    await start(containers, name)
    async with watching(containers.engine) as changes:
        containers.remove(name)

        await changes.wait_for(name, "destroy")

        assert (await containers.engine.inspect(name)).life is Life.MISSING


async def test_a_target_made_anew_under_the_old_name_is_a_new_instance(containers: DockerBench) -> None:
    name = containers.make(OBEYS)
    await start(containers, name)
    before = await containers.engine.inspect(name)
    async with watching(containers.engine) as changes:
        containers.remove(name)
        containers.make(OBEYS, name=name)
        await changes.wait_for(name, "create")
        created = await containers.engine.inspect(name)

        await containers.engine.start(name)

        after = await containers.engine.inspect(name)
    assert (created.life, created.instance, created.stopped_by_operator) == (Life.CREATED, None, False)
    assert after.life is Life.RUNNING
    assert after.instance is not None
    assert before.instance is not None
    assert after.instance[:12] != before.instance[:12]


async def test_a_renamed_target_changes_under_both_names(containers: DockerBench) -> None:
    name = containers.make(OBEYS)
    await start(containers, name)
    before = await containers.engine.inspect(name)
    async with watching(containers.engine) as changes:
        by_operator(containers, name).rename(f"{name}-new")

        await changes.wait_for(name, "rename")
        await changes.wait_for(f"{name}-new", "rename")

    assert (await containers.engine.inspect(name)).life is Life.MISSING
    assert (await containers.engine.inspect(f"{name}-new")).instance == before.instance
    by_operator(containers, f"{name}-new").rename(name)


async def test_the_first_digits_of_an_id_are_no_name(containers: DockerBench) -> None:
    name = containers.make(OBEYS)
    container_id = by_operator(containers, name).id
    assert container_id is not None

    assert (await containers.engine.inspect(container_id[:8])).life is Life.MISSING


async def test_a_port_that_is_taken_is_refused_in_the_engines_words(containers: DockerBench) -> None:
    port = {"80/tcp": ("127.0.0.1", free_port())}
    holder = containers.make(OBEYS, network_mode="bridge", ports=port)
    await containers.engine.start(holder)
    name = containers.make(OBEYS, network_mode="bridge", ports=port)

    with pytest.raises(EngineRefused, match=r"start .*: .*port is already allocated"):
        await containers.engine.start(name)

    seen = await containers.engine.inspect(name)
    assert (seen.life, seen.stopped_by_operator) == (Life.EXITED, False)
    assert "port is already allocated" in seen.detail


async def test_a_start_that_fails_takes_back_the_stop_by_hand_before_it(containers: DockerBench) -> None:
    port = {"80/tcp": ("127.0.0.1", free_port())}
    name = containers.make(OBEYS, network_mode="bridge", ports=port)
    await containers.engine.start(name)
    await asyncio.to_thread(by_operator(containers, name).stop, timeout=1)
    assert (await containers.engine.inspect(name)).stopped_by_operator
    await containers.engine.start(containers.make(OBEYS, network_mode="bridge", ports=port))

    with pytest.raises(EngineRefused, match="port is already allocated"):
        await containers.engine.start(name)

    seen = await containers.engine.inspect(name)
    assert (seen.life, seen.stopped_by_operator) == (Life.EXITED, False)


async def test_health_checks_make_no_changes(containers: DockerBench) -> None:
    check = {"test": ["CMD", "/usr/bin/python3", "-c", ""], "interval": 200_000_000, "retries": 1}
    name = containers.make(OBEYS, healthcheck=check)
    async with watching(containers.engine) as changes:
        await start(containers, name)

        async def is_healthy() -> bool:
            return str(by_operator(containers, name).attrs["State"]["Health"]["Status"]) == "healthy"

        await become(f"{name} is healthy", is_healthy)
        await changes.wait_for(name, "start")

        assert [change for change in changes.seen if change.name == name] == []


async def test_the_age_counts_from_the_start_of_this_life(containers: DockerBench) -> None:
    name = containers.make(OBEYS)
    await start(containers, name)
    engine = DockerEngine(host=find().host or "", timeout_s=TIMEOUT_S, workers=1, clock=lambda: time.time() + 3600)

    try:
        age_s = (await engine.inspect(name)).age_s
    finally:
        await engine.close()

    assert age_s is not None
    assert 3600 <= age_s < 3630
