"""Aliases that no router offers and those that no backend has: against the example router, and lists by hand."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from supervisor.doctor.checks.aliases import look
from testbed.servers import ProcessServers
from tests.doctor.patient import around, backend, found, router, words
from tests.doctor.test_servers import answering

BACKENDS = backend("general", port=1) + backend("planner", port=2, models=["planner", "research"])


@contextmanager
def offering(*names: str, status: int = 200, owner: str = "router") -> Iterator[int]:
    """Have a router that offers these, and return its port."""
    listed = {"object": "list", "data": [{"id": name, "owned_by": owner} for name in names]}
    with answering({"/v1/models": (status, json.dumps(listed).encode())}) as (port, _):
        yield port


def told(folder: Path, port: int, **keys: Any) -> list[str]:
    """Return what is found with a router on a port."""
    return words(found(look, around(folder, BACKENDS + router(port=port, **keys))))


def test_a_router_that_offers_what_is_served_is_as_it_should_be(tmp_path: Path) -> None:
    with offering("auto", "general", "planner", "research") as port:
        assert told(tmp_path, port) == []


def test_an_alias_that_no_router_offers_is_told_of_its_backend(tmp_path: Path) -> None:
    with offering("auto", "general", "planner") as port:
        assert told(tmp_path, port) == ["warning planner: no router offers research"]


def test_an_alias_that_no_backend_serves_is_told_of_the_router_with_the_one_that_may_be_meant(tmp_path: Path) -> None:
    with offering("general", "planer", "planner", "research", "vision") as port:
        assert told(tmp_path, port) == [
            "warning router: the router offers what no backend serves: planer (there is planner), vision"
        ]


def test_an_alias_that_the_router_is_asked_for_and_does_not_offer_is_an_error(tmp_path: Path) -> None:
    with offering("general", "planner", "research") as port:
        assert told(tmp_path, port, models=["general", "code"]) == [
            "error router: the router is asked for code, and does not offer it"
        ]


@pytest.mark.parametrize(("status", "key"), [(401, ""), (403, "wrong")])
def test_a_router_that_wants_a_key_is_told(tmp_path: Path, status: int, key: str) -> None:
    with offering(status=status) as port:
        seen = told(tmp_path, port, api_key=key)

    assert seen[0] == f"error router: the router wants a key ({status})"


def test_a_model_server_that_answers_in_the_routers_place_says_nothing_of_it(
    tmp_path: Path, process_servers: ProcessServers, model: Path
) -> None:
    url = process_servers.run("general", model)

    assert told(tmp_path, urlsplit(url).port or 0) == [
        "note router: the router does not tell what it offers at /v1/models"
    ]


def test_without_a_router_there_is_nothing_to_say(tmp_path: Path) -> None:
    assert list(look(around(tmp_path, BACKENDS))) == []
