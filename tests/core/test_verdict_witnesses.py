"""What the evidence means where the witnesses are not llama.cpp's slots: gauges, the host, users, or the CPU alone."""

from dataclasses import replace

import pytest

from supervisor.core.decide import wants_canary
from supervisor.core.observations import CanarySent, CpuSeen, Kind, ProgressSeen, Reply, Slot, TrafficSeen
from supervisor.core.policy import Policy
from supervisor.core.verdict import Verdict
from tests.core.timeline import IDLE, Moment, Played

POLICY = Policy()
NO_COUNTERS = Moment(counters=Reply.UNSUPPORTED)
SUMMED = Slot(id=0, busy=True, task=None, decoded=900, prefilled=0)


@pytest.mark.parametrize("queued", [0, 3])
def test_gauges_that_were_left_over_bring_a_canary_and_no_suspicion(queued: int) -> None:
    """vllm#22545: once every client has hung up, requests are shown at work until the next one comes."""
    played = Played().play([IDLE])
    for _ in range(30):
        played.now += 1.0
        stale = ProgressSeen(instance="life-1", reply=Reply.ANSWERED, slots=(SUMMED,), kind=Kind.VLLM, queued=queued)
        played._see(CpuSeen(instance="life-1", burned_s=0.0, over_s=1.0))
        played._see(stale)
        played._judge()

    assert played.acts == []
    assert played.state.phase.is_routable
    assert wants_canary(played.evidence, policy=POLICY, now=played.now)


def test_a_batch_server_that_swallows_the_canary_too_is_hung() -> None:
    played = Played().play([IDLE])
    for second in range(30):
        played.now += 1.0
        standing = ProgressSeen(instance="life-1", reply=Reply.ANSWERED, slots=(SUMMED,), kind=Kind.SGLANG, queued=0)
        played._see(CpuSeen(instance="life-1", burned_s=0.0, over_s=1.0))
        played._see(standing)
        if second == 3:
            played._see(CanarySent(instance="life-1", attempt=played.evidence.canary_attempt + 1))
        played._judge()

    assert [act.grace_s for _, act in played.acts] == [POLICY.hung_grace_s]


def test_a_server_that_waits_for_its_disk_is_not_hung_for_that() -> None:
    waiting = CpuSeen(instance="life-1", burned_s=0.0, over_s=1.0, waits_for_disk=True)
    played = Played().play([IDLE])
    for _ in range(300):
        played.now += 1.0
        played._see(waiting)
        played._see(ProgressSeen(instance="life-1", reply=Reply.SILENT))
        played._judge()

    assert played.state.judgement.message == "counters silent, waiting for its disk"
    assert played.acts == []


def test_a_gpu_nobody_can_see_into_is_no_strong_evidence() -> None:
    unknown = CpuSeen(instance="life-1", burned_s=0.0, over_s=1.0, gpu_is_unknown=True)
    played = Played().play([IDLE])
    for _ in range(60):
        played.now += 1.0
        played._see(unknown)
        played._see(ProgressSeen(instance="life-1", reply=Reply.SILENT))
        played._judge()

    assert (played.state.judgement.verdict, played.acts) == (Verdict.SUSPECT, [])
    assert played.state.judgement.message == "counters silent, cpu idle, gpu unknown"


def test_a_server_that_probes_cut_off_is_busy_while_its_cpu_burns() -> None:
    played = Played().play([NO_COUNTERS])
    for _ in range(5):
        played.now += 1.0
        played._see(ProgressSeen(instance="life-1", reply=Reply.UNSUPPORTED, kind=Kind.LLAMA_CPP_PYTHON))
        played._see(CpuSeen(instance="life-1", burned_s=0.9, over_s=1.0))
        played._judge()

    assert (played.state.judgement.verdict, played.state.judgement.reason) == (Verdict.BUSY, "CpuBurning")


def test_a_server_that_only_its_users_have_proven_is_ready() -> None:
    played = Played().play([NO_COUNTERS])
    played.evidence = replace(played.evidence, answered_at=None)

    played._see(TrafficSeen(instance=None, ok=True))
    played._judge()

    assert (played.state.judgement.verdict, played.state.judgement.reason) == (Verdict.READY, "TrafficAnswered")
