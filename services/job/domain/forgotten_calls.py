"""Calls that a database restored from a backup may have forgotten, as the ledger must assume them.

Between the moment of the backup and the restore, each image that could be bought may have been bought, under each
consent that there was. A call of unknown outcome stands for each such purchase, so that none is made again unasked.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from services.job.domain.calls import CallPhase, Consent, ProviderCall, consent_for
from services.job.domain.jobs import Job
from services.job.domain.states import State

#: States of jobs for which a call may have been made since: a failed job may have been retried by its user.
MAY_HAVE_BOUGHT_SINCE = (State.QUEUED, State.PROCESSING, State.GENERATING, State.FAILED)
#: Longest duration that is written for a forgotten call; it is over, and holds no slot.
TIMEOUT_SECONDS = 0.0


def forgotten_calls(
    job: Job, *, calls: Sequence[ProviderCall], missing: Collection[int], found: Sequence[str], now: datetime
) -> list[ProviderCall]:
    """Returns the calls to add to the ledger; none for a job that needs its user's consent for each missing image.

    `missing` are the indexes of images that a claim or a retry would buy. `found` are ids of calls with objects in
    staging that the ledger does not know: their image is taken from there, if the job has one image alone, as only then
    it is known which image it is. The ids of the other calls are empty. The calls are older than those of the ledger:
    an operation that can be followed still decides first.
    """
    if not missing:
        return []
    known = {call.id for call in calls}
    added = [
        _call(job, (0,), Consent.NONE, now=now, call_id=call_id)
        for call_id in found
        if job.image_count == 1 and call_id not in known
    ]
    groups: dict[tuple[Consent, ...], list[int]] = defaultdict(list)
    for index in sorted(missing):
        groups[tuple(_purchases(job, index, [*calls, *added], now))].append(index)
    return added + [
        _call(job, tuple(indexes), consent, now=now) for consents, indexes in groups.items() for consent in consents
    ]


def surely_ended(calls: Sequence[ProviderCall]) -> list[ProviderCall]:
    """Returns the calls that were not accepted yet: they have ended since, and must not be sent again.

    A provider remembers an idempotency key for hours or days, which may be over.
    """
    return [call for call in calls if call.phase is CallPhase.INTENDED]


def _purchases(job: Job, index: int, calls: Sequence[ProviderCall], now: datetime) -> Iterator[Consent]:
    """Yields the consent of each purchase of an image that may be forgotten; NONE for the first purchase."""
    assumed = list(calls)
    is_asked_for = any(_needs_consent_for_good(call) and index in call.image_indexes for call in calls)
    while (consent := consent_for(job, index, calls=assumed)) is not Consent.NONE:
        assumed.append(_call(job, (index,), consent, now=now))
        is_asked_for = True
        yield consent
    if not is_asked_for:
        yield Consent.NONE


def _needs_consent_for_good(call: ProviderCall) -> bool:
    """Whether no later report lifts the need of a consent: another call may turn out to have bought nothing."""
    return call.phase is CallPhase.SUCCEEDED or (call.phase is CallPhase.UNKNOWN and not call.can_be_followed)


def _call(job: Job, indexes: tuple[int, ...], consent: Consent, *, now: datetime, call_id: str = "") -> ProviderCall:
    # A consent of the user is used up by a call that began after it.
    is_by_user = consent is Consent.USER and job.consented_at is not None
    return ProviderCall(
        id=call_id,
        job_id=job.id,
        claim_number=job.claim_number + 1,
        provider=job.provider,
        model=job.model,
        phase=CallPhase.UNKNOWN,
        image_indexes=indexes,
        idempotency_key=call_id,
        request_digest="",
        consent=consent,
        timeout_seconds=TIMEOUT_SECONDS,
        token_required=True,
        created_at=job.consented_at if is_by_user and job.consented_at else job.created_at,
        settled_at=now,
    )


def with_id(call: ProviderCall, call_id: str) -> ProviderCall:
    """Returns a call with an id, unless it has one."""
    return call if call.id else replace(call, id=call_id, idempotency_key=call_id)
