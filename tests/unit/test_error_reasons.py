"""Codes and reasons: the same in the enums, the protobuf and the gateway's table, and safe to send and to store."""

import copy
import json
import pickle
from pathlib import Path

import pytest
import yaml
from calotype.error.v1 import error_pb2
from calotype.error_reasons import Code, Reason
from google.rpc import error_details_pb2

from gateway.problems.reasons import REASONS
from services.job.domain.circuit_breakers import Breaker
from services.job.messages import enums
from services.job.store import rows
from tests.support.checks import bare_reasons

NEWER = Reason("OF_A_NEWER_VERSION")


def test_codes_are_those_of_the_protobuf() -> None:
    assert [f"CODE_{code}" for code in Code] == error_pb2.Code.keys()[1:]


def test_reasons_are_those_of_the_protobuf() -> None:
    assert {f"REASON_{reason}" for reason in Reason} == set(error_pb2.Reason.keys()[1:])


def test_the_gateway_has_a_status_for_every_reason() -> None:
    assert set(REASONS) == set(Reason)


def test_a_name_is_its_value() -> None:
    assert [member.name for kind in (Code, Reason) for member in kind] == [*Code, *Reason]


@pytest.mark.parametrize("reason", [Reason.INTERNAL, NEWER])
def test_a_reason_is_its_text_wherever_it_is_sent_or_stored(reason: Reason) -> None:
    breaker = Breaker(provider="p", model="m", reason=reason)

    assert (f"{reason}", json.dumps(reason), {reason: 1}[reason.value]) == (reason.value, f'"{reason.value}"', 1)  # type: ignore[index]
    assert error_details_pb2.ErrorInfo(reason=reason).reason == reason.value
    assert rows.to_json(breaker)["reason"] == reason.value
    assert rows.from_json(Breaker, json.loads(rows.as_parameter([rows.to_json(breaker)]))[0]) == breaker
    assert pickle.loads(pickle.dumps(reason)) == copy.deepcopy(reason) == Reason(reason.value) == reason


def test_yaml_takes_no_member_but_its_value() -> None:
    with pytest.raises(yaml.YAMLError):
        yaml.safe_dump({"reason": Reason.INTERNAL})
    assert yaml.safe_dump({"reason": Reason.INTERNAL.value}) == "reason: INTERNAL\n"


def test_an_unknown_reason_is_kept_and_is_no_member() -> None:
    assert NEWER == "OF_A_NEWER_VERSION"
    assert (NEWER in REASONS, NEWER in list(Reason), NEWER.value in Reason.__members__) == (False, False, False)
    assert enums.reason_number(NEWER) == error_pb2.REASON_UNCLASSIFIED


def test_what_is_no_text_is_no_reason() -> None:
    with pytest.raises(ValueError, match="None is not a valid Reason"):
        Reason(None)  # type: ignore[arg-type]


def test_an_unknown_code_is_refused() -> None:
    with pytest.raises(ValueError, match="'NEWER' is not a valid Code"):
        Code("NEWER")


def test_no_code_or_reason_is_written_as_text() -> None:
    assert bare_reasons.violations() == []


def test_a_code_or_reason_as_text_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "common").mkdir()
    (tmp_path / "common" / "errors.py").write_text(
        'error(code="TIMEOUT", reason=Reason("TYPO"))\nmatch word:\n    case "INTERNAL" | "OTHER": ...\n',
        encoding="utf-8",
    )

    assert bare_reasons.violations(tmp_path) == [
        "common/errors.py:1: 'TIMEOUT': Code.TIMEOUT",
        "common/errors.py:1: 'TYPO': a member of Reason",
        "common/errors.py:3: 'INTERNAL': Reason.INTERNAL",
    ]
