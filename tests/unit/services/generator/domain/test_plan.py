"""The claimer's table, row by row."""

from dataclasses import replace

import pytest

from services.generator.domain.earlier_calls import Step, Traits, may_have_staged, step_for, unsettled
from services.generator.domain.jobs import Call, CallPhase

CALL = Call(
    id="call_1",
    provider="p",
    model="m",
    phase=CallPhase.INTENDED,
    image_indexes=(0,),
    idempotency_key="call_1",
    operation_id="",
    operation_state={},
)
PAID = Traits(free=False, idempotent=False, resumable=True)
FREE = Traits(free=True, idempotent=False, resumable=False)
KEYED = Traits(free=False, idempotent=True, resumable=False)


def step(phase: CallPhase, *, traits: Traits = PAID, operation: str = "", consent: bool = False) -> Step:
    """What the claimer does about a call of the phase."""
    return step_for(replace(CALL, phase=phase, operation_id=operation), traits=traits, may_pay_again=consent)


@pytest.mark.parametrize("phase", [CallPhase.FAILED, CallPhase.REFUSED, CallPhase.CANCELED, CallPhase.NOT_SENT])
@pytest.mark.parametrize("traits", [PAID, FREE, KEYED])
def test_what_was_surely_not_bought_is_bought(phase: CallPhase, traits: Traits) -> None:
    assert step(phase, traits=traits) is Step.BUY


@pytest.mark.parametrize("consent", [False, True])
def test_an_accepted_call_is_followed_and_never_sent_again(consent: bool) -> None:
    assert step(CallPhase.ACCEPTED, operation="op", consent=consent) is Step.RESUME


def test_a_result_that_is_not_staged_is_fetched_again_by_its_operation() -> None:
    assert step(CallPhase.SUCCEEDED, operation="op") is Step.RESUME


@pytest.mark.parametrize(("consent", "expected"), [(False, Step.STOP_LOST), (True, Step.BUY)])
def test_a_result_without_operation_is_lost_unless_somebody_pays_again(consent: bool, expected: Step) -> None:
    assert step(CallPhase.SUCCEEDED, consent=consent) is expected


@pytest.mark.parametrize(
    ("traits", "expected"), [(FREE, Step.RESEND), (KEYED, Step.RESEND), (PAID, Step.SETTLE_UNKNOWN)]
)
def test_an_intended_call_is_sent_again_only_where_that_costs_nothing(traits: Traits, expected: Step) -> None:
    assert step(CallPhase.INTENDED, traits=traits) is expected
    assert step(CallPhase.INTENDED, traits=traits, consent=True) is expected


@pytest.mark.parametrize(("consent", "expected"), [(False, Step.STOP_AMBIGUOUS), (True, Step.BUY)])
def test_an_unknown_call_is_repeated_with_consent_alone(consent: bool, expected: Step) -> None:
    assert step(CallPhase.UNKNOWN, consent=consent) is expected


@pytest.mark.parametrize("consent", [False, True])
def test_an_unknown_call_whose_operation_became_known_is_asked_about(consent: bool) -> None:
    assert step(CallPhase.UNKNOWN, operation="op", consent=consent) is Step.RESUME
    assert step(CallPhase.UNKNOWN, operation="op", traits=KEYED, consent=consent) is not Step.RESUME


def calls(*told: tuple[CallPhase, tuple[int, ...]]) -> list[Call]:
    """Calls from the oldest to the newest, numbered."""
    return [
        replace(CALL, id=str(number), phase=phase, image_indexes=indexes)
        for number, (phase, indexes) in enumerate(told)
    ]


def ids(found: list[Call]) -> list[str]:
    """Which calls were found."""
    return [call.id for call in found]


def test_only_the_newest_call_of_an_image_decides_over_it() -> None:
    earlier = calls((CallPhase.UNKNOWN, (0,)), (CallPhase.SUCCEEDED, (0,)), (CallPhase.UNKNOWN, (1,)))

    assert ids(unsettled(earlier, [0, 1])) == ["1", "2"]


def test_a_call_that_bought_nothing_leaves_the_outcome_of_an_older_one_open() -> None:
    earlier = calls((CallPhase.UNKNOWN, (0,)), (CallPhase.NOT_SENT, (0,)), (CallPhase.FAILED, (0,)))

    assert ids(unsettled(earlier, [0])) == ["0"]


def test_a_call_decides_over_the_images_that_no_newer_one_covers() -> None:
    earlier = calls((CallPhase.UNKNOWN, (0, 1)), (CallPhase.ACCEPTED, (0,)))

    assert ids(unsettled(earlier, [0, 1])) == ["0", "1"]
    assert ids(unsettled(earlier, [0])) == ["1"]
    assert ids(unsettled(earlier, [])) == []


def test_every_call_that_may_have_bought_a_missing_image_may_have_left_it() -> None:
    earlier = calls(
        (CallPhase.UNKNOWN, (0,)), (CallPhase.NOT_SENT, (0,)), (CallPhase.SUCCEEDED, (0,)), (CallPhase.ACCEPTED, (1,))
    )

    assert ids(may_have_staged(earlier, [0])) == ["0", "2"]
