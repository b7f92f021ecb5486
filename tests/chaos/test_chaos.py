"""A short run on every change: faults at bad moments, and every promise holds; and each rule sees its planted bug."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.chaos.history import History, promises_in
from tests.chaos.killer import Score, Strike
from tests.chaos.planted import BUGS
from tests.chaos.report import told
from tests.chaos.rules import RULES, check
from tests.chaos.run import RESCUE_SECONDS, Plan, Result, connected, evidence_of, play, read, rescues_of
from tests.chaos.sight import Sight
from tests.chaos.stack import ChaosStack, chaos_stack
from tests.chaos.stores import Stores
from tests.support.patience import PATIENCE

# The run itself is the setup of the first test.
pytestmark = pytest.mark.timeout(1_800)
PLAN = Plan(
    seed=7,
    minutes=0.6,
    faults=1000,
    jobs=0,
    least=1,
    at_once=8,
    replicas=2,
    longest_outage=5.0,
    fewest=5,
    # What the planted bugs are planted in.
    ends=frozenset({"completed", "canceled", "deleted"}),
    noise=PATIENCE,
    later=2.0,
)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChaosStack]:
    """A stack of the module's own."""
    with chaos_stack(tmp_path_factory.mktemp("chaos"), seed=PLAN.seed, replicas=PLAN.replicas) as running:
        yield running


@pytest.fixture(scope="module")
def result(stack: ChaosStack) -> Result:
    """What came of the short run."""
    return play(PLAN, stack)


@pytest.fixture(scope="module")
def history(result: Result, stack: ChaosStack) -> History:
    """Everything as the run left it."""
    with connected(stack) as connection:
        return read(connection, stack)


@pytest.fixture
def stores(result: Result, stack: ChaosStack, tmp_path: Path) -> Iterator[Stores]:
    """The stores after the run, to be broken and put back."""
    evidence = evidence_of(stack).copy(tmp_path / "evidence")
    with connected(stack) as connection:
        prompts = {one.id: one.prompt for one in promises_in(evidence.promises)}
        storage_url = stack.addresses.storage_url
        found = Stores(connection=connection, storage_url=storage_url, evidence=evidence, prompts=prompts)
        yield found
        found.restore()


def test_every_promise_holds(result: Result) -> None:
    print(told(result))

    assert result.score.counted >= 5
    assert {name: problems for name, problems in result.broken.items() if problems} == {}


@pytest.mark.parametrize(
    ("rule", "plant"),
    [
        pytest.param(rule, plant, id=f"{rule}-{plant.__name__.strip('_')}")
        for rule, bugs in BUGS.items()
        for plant in bugs
    ],
)
def test_a_planted_bug_is_seen_by_its_rule(
    stores: Stores, stack: ChaosStack, history: History, rule: str, plant: Callable[[Stores], None]
) -> None:
    plant(stores)
    like = None if stores.has_touched_objects else history
    broken = check(read(stores.connection, stack, evidence=stores.evidence, like=like))

    assert broken[rule] != []


def test_every_rule_has_a_planted_bug() -> None:
    assert [rule.__name__ for rule in RULES] == list(BUGS)


def test_two_views_of_one_sequence_are_a_surprise() -> None:
    surprises: list[str] = []
    sight = Sight("job_1", surprises.append)
    view = {"sequence": 3, "cost": None, "queue_position": 2, "display": {"percent": 10, "poll_after_ms": 1000}}
    sight.see(view)
    sight.hear(view | {"queue_position": 1, "display": {"percent": 55, "poll_after_ms": 1500}})

    assert surprises == []

    sight.see(view | {"cost": 40_000})
    assert len(surprises) == 1


def test_a_rescue_that_comes_late_is_seen(history: History) -> None:
    job_id, events = next(iter(history.events.items()))
    early = events[1]["occurred_at"] - timedelta(seconds=RESCUE_SECONDS + 1)
    strike = Strike(fault="kill generator", victims=["generator-1"], at=early, until=early, held=((job_id, 1),))

    [rescue] = rescues_of(Score(strikes=[strike]), history)
    assert rescue.job_id == job_id
    assert rescue.seconds == pytest.approx(RESCUE_SECONDS + 1)
    assert rescue.seconds > rescue.allowed
