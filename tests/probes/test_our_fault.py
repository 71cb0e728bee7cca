"""What is wrong with us says nothing about them: no file handles, no address, no words for what was asked."""

import asyncio
import json
import subprocess
import sys

import pytest

from supervisor.core.observations import Reply
from tests.fakes.model_server import FakeModelServer, says
from tests.probes.probing import ask, look

OUT_OF_HANDLES = """
import asyncio, json, os, resource, sys
from supervisor.probes import http
from supervisor.probes.answer import Checker
from supervisor.probes.canary import Canary
from supervisor.probes.llama_cpp import LlamaCppProgress
from tests.fakes.model_server import FakeModelServer, says

async def main() -> None:
    async with FakeModelServer(says("[]")) as server, http.client(server.url, api_key="") as client:
        progress = LlamaCppProgress(client)
        canary = Canary(client, model="general", max_tokens=4, checker=Checker())
        before = await progress.look(timeout_s=5)
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        taken = []
        try:
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            pass
        looked, asked = await progress.look(timeout_s=5), await canary.send(limit_s=5)
        for each in taken:
            os.close(each)
        after = await progress.look(timeout_s=5)
    print(json.dumps([[each.reply, each.detail] for each in (before, looked, asked, after)]))

asyncio.run(main())
"""


def test_without_file_handles_a_probe_was_not_run_and_it_heals() -> None:
    ran = subprocess.run([sys.executable, "-c", OUT_OF_HANDLES], capture_output=True, text=True, check=False)

    assert ran.stderr == ""
    replies, details = zip(*json.loads(ran.stdout), strict=True)
    assert replies == (Reply.ANSWERED, Reply.NOT_RUN, Reply.NOT_RUN, Reply.ANSWERED)
    assert all("Too many open files" in detail for detail in details[1:3])


async def test_a_name_that_nobody_knows_was_not_looked_at() -> None:
    url = "http://no-such-host.invalid:8091"

    counters, answer = await look(url), await ask(url)

    assert (counters.reply, answer.reply) == (Reply.NOT_RUN, Reply.NOT_RUN)


@pytest.mark.parametrize(
    ("said", "expected"), [(b"HTTP/1.1 400 Bad Request\r\n\r\n", Reply.NOT_RUN), (b"", Reply.RESET)]
)
async def test_without_tls_on_the_other_side_nothing_was_asked_but_hanging_up_is_theirs(
    said: bytes, expected: Reply
) -> None:
    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(said)
        writer.close()

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async with server:
        counters, answer = await look(url), await ask(url)

    assert (counters.reply, answer.reply) == (expected, expected)


async def test_a_key_that_no_header_can_hold_was_never_sent() -> None:
    async with FakeModelServer(says("[]")) as server:
        counters, answer = await look(server.url, api_key="two\nlines"), await ask(server.url, api_key="two\nlines")

    assert (counters.reply, answer.reply) == (Reply.NOT_RUN, Reply.NOT_RUN)
    assert "two" not in counters.detail + answer.detail
    assert server.asked == []
