"""Random facts that no worker would publish: every field at its extremes, about existing jobs."""

import random
from collections.abc import Sequence
from typing import Any

from calotype.fact.v1 import fact_pb2
from google.protobuf.descriptor import FieldDescriptor as Field

from services.job.domain.calls import ProviderCall
from services.job.domain.jobs import Job

TEXTS = ("", "x", "\0", "ü" * 3000, "a" * 70_000, "jobs/x/0.png", "0" * 64, "00000000-0000-0000-0000-000000000000")
INT32 = (0, 1, -1, 2, 9, 10, 2**15 - 1, 2**15, 2**31 - 1, -(2**31))
FLOATS = (0.0, -0.0, -1.0, 5.0, 1e308, 5e-324, float("inf"), float("-inf"), float("nan"))
EXTREMES: dict[int, tuple[Any, ...]] = {
    Field.TYPE_STRING: TEXTS,
    Field.TYPE_BYTES: (b"", b"\0", b"\xff" * 1000),
    Field.TYPE_BOOL: (False, True),
    Field.TYPE_INT32: INT32,
    Field.TYPE_INT64: (*INT32, 40_000, 2**63 - 1, -(2**63)),
    Field.TYPE_UINT32: (0, 1, 2**32 - 1),
    Field.TYPE_UINT64: (0, 1, 2**64 - 1),
    Field.TYPE_FLOAT: FLOATS,
    Field.TYPE_DOUBLE: FLOATS,
}


def wild_fact(dice: random.Random, about: Sequence[tuple[Job, ProviderCall]]) -> fact_pb2.Fact:
    """A fact of any type, with a fence and ids that hold more often than not."""
    job, call = dice.choice(about)
    fact = fact_pb2.Fact(id=str(dice.getrandbits(64)))
    kind = dice.choice(fact_pb2.Fact.DESCRIPTOR.oneofs_by_name["fact"].fields).name
    getattr(fact, kind).SetInParent()
    _fill(getattr(fact, kind), dice, _good(job, call))
    return fact


def _good(job: Job, call: ProviderCall) -> dict[str, Any]:
    """Values by which a fact is taken for one of the job's own."""
    return {
        "job_id": job.id,
        "call_id": call.id,
        "claim_number": job.claim_number,
        "lease_token": str(job.lease.token) if job.lease else TEXTS[-1],
        "index": 0,
        "sha256": "0" * 64,
        "content_type": "image/png",
    }


def _fill(message: Any, dice: random.Random, good: dict[str, Any]) -> None:
    for field in message.DESCRIPTOR.fields:
        if field.name in good and dice.random() < 0.8:
            setattr(message, field.name, good[field.name])
        elif field.message_type is not None and field.message_type.GetOptions().map_entry:
            getattr(message, field.name)[dice.choice(TEXTS)] = dice.choice(TEXTS)
        elif field.message_type is not None:
            _fill_below(message, field, dice, good)
        elif dice.random() < 0.7:
            values = field.enum_type.values_by_number if field.enum_type else EXTREMES[field.type]
            setattr(message, field.name, dice.choice(list(values)))


def _fill_below(message: Any, field: Any, dice: random.Random, good: dict[str, Any]) -> None:
    if field.is_repeated:
        for _ in range(dice.choice((0, 1, 1, 2))):
            _fill(getattr(message, field.name).add(), dice, good)
    elif field.name == "fence" or dice.random() < 0.8:
        below = getattr(message, field.name)
        below.SetInParent()
        _fill(below, dice, good)
