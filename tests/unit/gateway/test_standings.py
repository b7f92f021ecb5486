"""With what a job can fail, as the services have it: read in their source, and asked of the rules that reckon it."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import product
from pathlib import Path
from uuid import uuid4

from calotype.error_reasons import Code, Reason

from gateway.problems.reasons import REASONS
from services.job.application.stale_jobs import judge
from services.job.domain.calls import CallOutcome, CallPhase
from services.job.domain.circuit_breakers import FAILURES_TO_OPEN, Breaker, next_state
from services.job.domain.failures import Failure, Stage
from services.job.domain.jobs import Job, Lease
from services.job.domain.states import State
from services.job.domain.timeouts import StageTimeouts
from tests.support.gateway.job_conditions import FAILURES
from tests.unit.services.job.domain.test_transitions import NOW, job_in

SERVICES = Path(__file__).resolve().parents[3] / "services"
TREES = {file: ast.parse(file.read_text(encoding="utf-8")) for file in SERVICES.rglob("*.py")}
#: What answers a caller, or warns of one picture of a job that goes on, fails no job.
NO_FAILURES = ("Refusal", "ServiceError", "JobWarning", "_cause")
#: Where a reason is only asked about.
QUESTIONS = (ast.Compare, ast.MatchValue, ast.Set)
MUCH_LATER = NOW + timedelta(days=2)

Pair = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Written:
    """A reason in the source. The stage is None where it is reckoned; what only defers a job fails none there."""

    file: str
    reason: Reason
    stage: str | None
    deferred: bool


class Reader(ast.NodeVisitor):
    """Finds the reasons that a file writes: each member of `Reason`, unless it is known to fail no job."""

    def __init__(self, file: Path) -> None:
        self.found: list[Written] = []
        self._file = f"{file.parent.name}/{file.name}"
        # The generator's errors are of this stage unless they say another.
        self._default = "GENERATING" if file.is_relative_to(SERVICES / "generator") else None
        self._stage, self._deferred = self._default, False

    def visit(self, node: ast.AST) -> None:
        if not isinstance(node, QUESTIONS):
            super().visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if _name(node.func) in NO_FAILURES:
            return
        outer = self._stage, self._deferred
        named = {one.arg: one.value for one in node.keywords}
        self._stage = _word(named["stage"]) if "stage" in named else self._default
        self._deferred = "deferred" in named
        self.generic_visit(node)
        self._stage, self._deferred = outer

    def visit_Dict(self, node: ast.Dict) -> None:
        for value in node.values:
            self.visit(value)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self.visit(node.value)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if _name(node.value) == "Reason" and node.attr in Reason.__members__:
            stage = self._stage.lower() if self._stage else None
            one = Written(file=self._file, reason=Reason[node.attr], stage=stage, deferred=self._deferred)
            self.found.append(one)
        else:
            self.generic_visit(node)


def _read() -> Iterator[Written]:
    for file, tree in TREES.items():
        reader = Reader(file)
        reader.visit(tree)
        yield from reader.found


def _name(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _word(node: ast.AST) -> str | None:
    """A literal, or a member of an enumeration; None for what is reckoned."""
    if isinstance(node, ast.Attribute) and _name(node.value) in ("Stage", "Code", "Reason"):
        return node.attr
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


WRITTEN = tuple(_read())


def _literal() -> set[Pair]:
    return {(one.stage, one.reason) for one in WRITTEN if one.stage and not one.deferred}


def _of_given_pictures() -> set[Pair]:
    """The image reader's word for whatever a picture fails with, when it was given with the request."""
    found = {one.reason for one in WRITTEN if one.file in ("images/guarded_fetch.py", "images/errors.py")}
    return {("processing", Reason.INVALID_INPUT if reason == Reason.INVALID_IMAGE else reason) for reason in found}


def _of_the_monitor() -> set[Pair]:
    """Jobs whose worker vanished or that it held for too long, with attempts left or none, too late for one or not."""
    ends = (NOW, MUCH_LATER + timedelta(seconds=1))
    leases = [Lease(worker="w", token=uuid4(), locked_at=NOW, expires_at=end) for end in ends]
    held = [job_in(state) for state in (State.PROCESSING, State.GENERATING, State.UPLOADING)]
    jobs = [replace(job, lease=lease, finish_by=by) for job, lease, by in product(held, leases, (None, NOW))]
    return {pair for job in jobs for attempts in (1, 3) for pair in _judged(job, StageTimeouts(max_attempts=attempts))}


def _of_the_queue() -> set[Pair]:
    """Jobs that waited for too long: for nobody, for a limit that deferred them, or for a breaker of whatever cause."""
    deferrals = [None, *(_failure(one.reason, Stage.PROCESSING) for one in WRITTEN if one.deferred)]
    breakers = [None, *(one for reason in REASONS if (one := _breaker(reason)).opened_at)]
    jobs = [replace(job_in(State.QUEUED), deferral=deferral) for deferral in deferrals]
    return {pair for job in jobs for breaker in breakers for pair in _judged(job, StageTimeouts(), blocked_by=breaker)}


def _breaker(reason: Reason) -> Breaker:
    """A breaker after calls that all ended with the reason."""
    ended = CallOutcome(call_id="call_1", phase=CallPhase.FAILED, code=Code(REASONS[reason].code), reason=reason)
    return next_state(Breaker(provider="p", model="m"), [ended] * FAILURES_TO_OPEN, now=NOW)


def _failure(reason: Reason, stage: Stage) -> Failure:
    return Failure(stage=stage, code=REASONS[reason].code, reason=reason, message="", retryable=True)


def _judged(job: Job, limits: StageTimeouts, *, blocked_by: Breaker | None = None) -> list[Pair]:
    """With what the monitor fails the job at last; nothing when it does not."""
    change = judge(job, calls=[], staged=[], blocked_by=blocked_by, limits=limits, now=MUCH_LATER)
    failure = change.after.failure if change else None
    return [(failure.stage, failure.reason)] if failure else []


def test_a_job_fails_with_what_the_table_has_and_with_nothing_else() -> None:
    told = {(stage, reason) for stage, reasons in FAILURES.items() for reason in reasons}

    assert told == _literal() | _of_given_pictures() | _of_the_monitor() | _of_the_queue()


def test_every_reason_that_a_service_writes_is_in_the_table() -> None:
    assert {one.reason for one in WRITTEN} == set().union(*FAILURES.values())


def test_only_the_image_reader_changes_the_stage_of_an_error() -> None:
    changing = {
        f"{file.parent.name}/{file.name}"
        for file, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "stage" and isinstance(node.ctx, ast.Store)
    }

    assert changing == {"images/reader.py"}


def test_a_reason_is_written_with_its_code_in_the_catalogue() -> None:
    beside = [pair for tree in TREES.values() for node in ast.walk(tree) for pair in _codes_and_reasons(node)]

    assert len(beside) > 50
    assert [(code, reason) for code, reason in beside if REASONS[reason].code != code] == []


def _codes_and_reasons(node: ast.AST) -> Iterator[tuple[Code, Reason]]:
    """Codes and reasons of one call or tuple, where it has both; in the order of both ways of an `if`."""
    if isinstance(node, ast.Call):
        values = [*node.args, *(one.value for one in node.keywords)]
    else:
        values = node.elts if isinstance(node, ast.Tuple) else []
    ways = [way for one in values for way in ((one.body, one.orelse) if isinstance(one, ast.IfExp) else (one,))]
    words = [word for way in ways if (word := _word(way))]
    codes = [Code[word] for word in words if word in Code.__members__]
    reasons = [Reason[word] for word in words if word in Reason.__members__]
    return zip(codes, reasons, strict=bool(codes and reasons))
