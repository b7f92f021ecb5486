"""What every provider behind HTTP sends, exactly, and what it makes of every answer: its golden, played."""

import copy
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from services.generator.adapters.providers.kinds import KINDS
from services.generator.domain.provider_results import Acceptance
from tests.support.providers import goldens
from tests.support.providers.goldens import Golden
from tests.support.providers.provider_fixtures import KEY, LOCAL, MALFORMED_RESPONSES, REMOTE
from tests.support.providers.scripted_http import Manner, ScriptedResponse

GOLDENS = {kind: goldens.read(kind) for kind in goldens.kinds()}
CASES = [(kind, name) for kind, golden in GOLDENS.items() for name in golden.cases]
RESUMABLE = sorted(kind for kind in GOLDENS if REMOTE[kind].traits.resumable)  # type: ignore[attr-defined]
#: What a case of this name has to come to, whoever the vendor is.
REFUSALS = {
    "refusal": ("PERMANENT", "CONTENT_POLICY"),
    "rate limit": ("RATE_LIMIT", "PROVIDER_RATE_LIMIT"),
    "auth": ("AUTH_ERROR", "PROVIDER_AUTH"),
    "quota": ("PERMANENT", "QUOTA_EXHAUSTED"),
    "4xx": ("PERMANENT", "INVALID_INPUT"),
    "5xx": ("TEMPORARY", "PROVIDER_UNAVAILABLE"),
    "expired": ("TIMEOUT", "RESULT_LOST"),
}

#: Their own descriptions say that such an answer is never charged.
BILLS_NO_5XX = {"fal", "gemini"}


class Failing(httpx.AsyncBaseTransport):
    """A wire that breaks in one way."""

    def __init__(self, failure: httpx.TransportError) -> None:
        self.asked = 0
        self._failure = failure

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Break."""
        self.asked += 1
        raise self._failure


@pytest.fixture(params=GOLDENS)
def golden(request: pytest.FixtureRequest) -> Golden:
    """Each golden."""
    return GOLDENS[request.param]


def test_every_kind_behind_http_has_a_golden() -> None:
    assert set(GOLDENS) == set(REMOTE) == set(KINDS) - LOCAL


async def test_a_golden_has_a_case_for_all_that_the_provider_can_do(golden: Golden) -> None:
    provider = goldens.provider_of(golden, "http://vendor.test")
    offers = provider.describe(is_default=False).capabilities
    await provider.close()
    needed = {"good", "refusal", "rate limit", "auth", "quota", "4xx", "5xx", "cancel"}
    needed |= {"n"} if offers.max_images_per_call > 1 else set()
    needed |= {"edit"} if offers.max_input_images else set()
    needed |= {"expired"} if offers.resumable else set()

    assert needed - set(golden.cases) == set()
    assert golden.cases["cancel"]["comes_to"] == {"cancel": "confirmed" if offers.cancelable else "unsupported"}
    if "n" in needed:
        assert golden.cases["n"]["job"]["n"] == len(golden.cases["n"]["comes_to"]["images"])
        assert golden.cases["n"]["job"]["n"] == offers.max_images_per_call


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_a_case_says_where_it_is_from_and_means_what_its_name_says(kind: str, name: str) -> None:
    case = GOLDENS[kind].cases[name]
    ending = case["comes_to"]

    assert all(step["source"].startswith("https://") for step in case["steps"])
    if name in REFUSALS:
        assert (ending["code"], ending["reason"]) == REFUSALS[name]
    if name in ("rate limit", "auth", "quota", "4xx"):
        assert ending["acceptance"] == "not_accepted"
    if name == "rate limit":
        assert ending["retry_after_seconds"] > 0
    if name == "5xx":
        assert ending["acceptance"] == ("not_accepted" if kind in BILLS_NO_5XX else "unknown")


@pytest.mark.parametrize(("kind", "name"), CASES)
async def test_exactly_these_requests_come_to_exactly_this(kind: str, name: str) -> None:
    await goldens.check(GOLDENS[kind], name)


@pytest.mark.parametrize("name", ["good", "auth", "5xx"])
async def test_the_key_is_in_no_log_at_any_level(golden: Golden, name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await goldens.play(golden, name)

    assert caplog.text
    assert KEY not in caplog.text


@pytest.mark.parametrize("kind", RESUMABLE)
async def test_whoever_comes_after_a_crash_follows_the_operation_to_the_same_end(kind: str) -> None:
    golden = GOLDENS[kind]

    assert await goldens.play(golden, "good", resumes=True) == golden.cases["good"]["comes_to"]


@pytest.mark.parametrize("answer", MALFORMED_RESPONSES.values(), ids=MALFORMED_RESPONSES)
async def test_a_yes_that_makes_no_sense_may_have_bought(golden: Golden, answer: ScriptedResponse) -> None:
    taken = golden.cases["good"]["steps"][0]["answer"]["status"]
    came_to = await goldens.play(golden, "good", first=replace(answer, status=taken))

    assert came_to["acceptance"] in ("accepted", "unknown")


@pytest.mark.parametrize("status", [302, 307, 402, 405, 415, 426, 431, 501])
async def test_an_answer_that_by_definition_carries_nothing_out_bought_nothing(golden: Golden, status: int) -> None:
    came_to = await goldens.play(golden, "good", first=ScriptedResponse(status=status))

    assert (came_to["code"], came_to["acceptance"]) == ("PERMANENT", "not_accepted")


@pytest.mark.parametrize("status", [408, 409, 418, 504, 529])
async def test_an_answer_that_no_reference_names_may_have_bought(golden: Golden, status: int) -> None:
    came_to = await goldens.play(golden, "good", first=ScriptedResponse(status=status))

    assert came_to["acceptance"] == "unknown"


@pytest.mark.parametrize(("named", "status"), [(503, 503), ("5xx", 529), ("4xx", 418), ("504", 504)])
async def test_what_the_operator_knows_is_not_charged_bought_nothing(
    golden: Golden, named: int | str, status: int
) -> None:
    knowing = replace(golden, entry={**golden.entry, "not_charged_on": [named]})
    came_to = await goldens.play(knowing, "good", first=ScriptedResponse(status=status))

    assert came_to["acceptance"] == "not_accepted"


@pytest.mark.parametrize("named", [504, "4xx"])
async def test_what_the_operator_knows_of_one_status_says_nothing_of_others(golden: Golden, named: int | str) -> None:
    knowing = replace(golden, entry={**golden.entry, "not_charged_on": [named]})
    came_to = await goldens.play(knowing, "good", first=ScriptedResponse(status=529))

    assert came_to["acceptance"] == "unknown"


@pytest.mark.parametrize("manner", [Manner.HANG_UP, Manner.CUT])
async def test_an_answer_that_is_lost_may_have_bought(golden: Golden, manner: Manner) -> None:
    came_to = await goldens.play(golden, "good", first=ScriptedResponse(status=200, body=b'{"id"', manner=manner))

    assert (came_to["code"], came_to["acceptance"]) == ("TEMPORARY", "unknown")


@pytest.mark.parametrize(
    ("failure", "acceptance"),
    [
        (httpx.ConnectTimeout("late"), Acceptance.NOT_ACCEPTED),
        (httpx.ConnectError("refused"), Acceptance.NOT_ACCEPTED),
        (httpx.ReadTimeout("late"), Acceptance.UNKNOWN),
        (httpx.WriteTimeout("late"), Acceptance.UNKNOWN),
        (httpx.ReadError("reset"), Acceptance.UNKNOWN),
    ],
    ids=lambda told: type(told).__name__ if isinstance(told, Exception) else str(told),
)
async def test_only_what_never_left_surely_bought_nothing(
    golden: Golden, failure: httpx.TransportError, acceptance: Acceptance
) -> None:
    wire = Failing(failure)
    error = await goldens.failure_by(golden, wire)

    assert (error.acceptance, wire.asked) == (acceptance, 1)


def _leaves(told: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(told, (dict, list)):
        for name, value in told.items() if isinstance(told, dict) else enumerate(told):
            yield from _leaves(value, (*place, name))
    else:
        yield place


def _altered(value: Any) -> Any:
    match value:
        case str():
            return f"{value}x"
        case bytes():
            return value + b"x"
        case bool():
            return not value
        case _:
            return value + 1


def _mutated(golden: Golden, name: str, place: tuple[Any, ...]) -> Golden:
    """The golden with one value of one case altered; nothing of it is shared with the original."""
    # Aliases of the file are one object, and a deep copy keeps them so: the case alone is copied, step by step.
    case = golden.cases[name] | {"steps": [copy.deepcopy(step) for step in golden.cases[name]["steps"]]}
    case["comes_to"] = copy.deepcopy(case["comes_to"])
    node: Any = case
    for part in place[:-1]:
        node = node[part]
    node[place[-1]] = _altered(node[place[-1]])
    return replace(golden, cases={name: case})


def _first_uses(golden: Golden) -> Iterator[tuple[str, int]]:
    """Where each request is used first: case and step. A request that many cases share is altered once."""
    seen: list[Any] = []
    for name, case in golden.cases.items():
        for number, step in enumerate(case["steps"]):
            if step["request"] not in seen:
                seen.append(step["request"])
                yield name, number


REQUESTS = [(kind, name, number) for kind, golden in GOLDENS.items() for name, number in _first_uses(golden)]


@pytest.mark.parametrize(("kind", "name", "number"), REQUESTS)
async def test_one_altered_value_of_a_request_turns_it_red(kind: str, name: str, number: int) -> None:
    golden = GOLDENS[kind]
    request = golden.cases[name]["steps"][number]["request"]
    for leaf in _leaves(request):
        with pytest.raises(AssertionError):
            await goldens.check(_mutated(golden, name, ("steps", number, "request", *leaf)), name)


@pytest.mark.parametrize(("kind", "name"), CASES)
async def test_one_altered_value_of_an_ending_turns_it_red(kind: str, name: str) -> None:
    golden = GOLDENS[kind]
    came_to = await goldens.play(golden, name)
    for leaf in _leaves(golden.cases[name]["comes_to"]):
        with pytest.raises(AssertionError):
            goldens.compare(_mutated(golden, name, ("comes_to", *leaf)), name, came_to)


@pytest.mark.parametrize("kind", GOLDENS)
async def test_one_altered_status_of_an_answer_turns_it_red(kind: str) -> None:
    golden = GOLDENS[kind]
    for number in range(len(golden.cases["good"]["steps"])):
        altered = _mutated(golden, "good", ("steps", number, "answer", "status"))
        altered.cases["good"]["steps"][number]["answer"]["status"] = 418
        with pytest.raises(AssertionError):
            await goldens.check(altered, "good")
