"""The settings over HTTP: for those who may change things, about everything or some targets, and what is wrong."""

from collections.abc import AsyncIterator

import httpx
import jsonschema
import pytest
import pytest_asyncio

from supervisor.errors import SettingsError
from supervisor.publish.answers import no_such
from supervisor.publish.api import Api
from supervisor.publish.openapi_schemas import SCHEMAS
from tests.fakes.brakes import Brakes, Remembered, Rereads
from tests.fakes.services import Servants
from tests.publish.believing import Time
from tests.publish.serving import BEARER, TOKEN, WATCHED, Operator, error_of

KNOWN = [(b"Authorization", BEARER)]
BOTH = pytest.mark.parametrize(("method", "path"), [("GET", "/v1/settings/difference"), ("POST", "/v1/reload")])
SAYS = {
    "file": "/etc/benchai-supervisor/settings.toml",
    "targets": [{"name": "code", "what": "changed", "note": "", "changes": []}],
    "common": [{"key": "http.port", "before": "8090", "after": "9000", "takes_restart": True}],
}


class Served:
    """The API for those who may change things, and for those who must show a token."""

    def __init__(self) -> None:
        self.rereads = Rereads(says=SAYS)
        operator = Operator()
        self.api = Api(
            Time().board(*WATCHED),
            operate=operator.operate,
            report=operator.report,
            history=operator.history,
            holds=Brakes(),
            incidents=Remembered(),
            services=Servants().services(),
            rereads=self.rereads,
            token=TOKEN,
        )
        self.trusted, self.stranger = (
            httpx.AsyncClient(transport=httpx.ASGITransport(self.api.app(trusted=trusted)), base_url="http://daemon")
            for trusted in (True, False)
        )


@pytest_asyncio.fixture
async def served() -> AsyncIterator[Served]:
    served = Served()
    async with served.trusted, served.stranger:
        yield served


@BOTH
async def test_it_is_answered_as_described_and_only_a_reload_changes_anything(
    served: Served, method: str, path: str
) -> None:
    response = await served.trusted.request(method, path)

    assert response.status_code == 200
    assert response.json() == {**SAYS, "applied": method == "POST"}
    jsonschema.validate(response.json(), SCHEMAS["Difference"])
    assert served.rereads.asked == [("update" if method == "POST" else "compare", ())]


@BOTH
async def test_some_targets_may_be_meant_alone(served: Served, method: str, path: str) -> None:
    await served.trusted.request(method, path, params=[("target", "code"), ("target", "math")])

    assert served.rereads.asked[0][1] == ("code", "math")


@BOTH
async def test_whoever_may_change_nothing_is_told_nothing(served: Served, method: str, path: str) -> None:
    """The difference holds the values of keys, which the other readings do not."""
    refused = await served.stranger.request(method, path)
    known = await served.stranger.request(method, path, headers=KNOWN)

    assert error_of(refused) == (401, "Unauthorized")
    assert known.status_code == 200
    assert len(served.rereads.asked) == 1


@BOTH
async def test_settings_that_cannot_be_used_are_refused_in_the_words_of_the_check(
    served: Served, method: str, path: str
) -> None:
    served.rereads.complaint = SettingsError("settings.toml: http.port = -1: must be at least 0\nsettings.toml: x")

    response = await served.trusted.request(method, path)

    assert error_of(response) == (422, "BadSettings")
    assert response.json()["error"]["message"] == "settings.toml: http.port = -1: must be at least 0\nsettings.toml: x"


@BOTH
async def test_a_target_that_is_nowhere_is_refused(served: Served, method: str, path: str) -> None:
    served.rereads.complaint = no_such("target", "nobody", ["code"])

    assert error_of(await served.trusted.request(method, path, params={"target": "nobody"})) == (404, "NoSuchTarget")


async def test_a_new_token_holds_at_once_and_the_old_one_no_more(served: Served) -> None:
    served.api.settle(token="another")  # noqa: S106 - of nothing

    old = await served.stranger.post("/v1/reload", headers=KNOWN)
    new = await served.stranger.post("/v1/reload", headers={"Authorization": "Bearer another"})

    assert (old.status_code, new.status_code) == (401, 200)
