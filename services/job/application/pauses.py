"""Pauses and resumes a provider, a tenant or the queue, for operators."""

from collections.abc import Iterator

from calotype.error_reasons import Reason
from calotype.size_limits import MAX_PROVIDER_CHARACTERS

from common.sql import Connection
from services.job.domain.bounds import check, line
from services.job.domain.pauses import MAX_NOTE, MAX_PAUSES, Pause, PauseKind
from services.job.domain.refusals import Refusal, Violation
from services.job.store import claim_locks, pauses, providers

#: Longest name of an operator in characters.
MAX_PRINCIPAL = 200


def pause(connection: Connection, kind: PauseKind, name: str, *, note: str, by: str) -> Pause:
    """Pauses; once it has returned and is committed, no claim takes a job that it holds.

    A pause in effect gets the new note and goes on. A tenant may have any name, as its first job may come later.
    Raises `Refusal`: INVALID_INPUT, also beyond `MAX_PAUSES`, NOT_FOUND for a provider that was never registered.
    """
    check([*_name_faults(kind, name), *_text_faults(note, by)])
    # A claim in progress read the pauses before this one: it ends first.
    claim_locks.lock_claiming(connection)
    if kind is PauseKind.PROVIDER and name not in providers.registrations(connection):
        raise Refusal(Reason.NOT_FOUND, f"No generator has ever registered a provider {name!r}.")
    if len(pauses.read(connection).active()) >= MAX_PAUSES:
        check([Violation(field="name", message=f"At most {MAX_PAUSES:,} names are paused at a time.")])
    return pauses.pause(connection, kind, name, note=note, by=by)


def resume(connection: Connection, kind: PauseKind, name: str) -> bool:
    """Ends a pause; returns whether it was in effect. Raises `Refusal` INVALID_INPUT."""
    check(_name_faults(kind, name))
    return pauses.resume(connection, kind, name)


def _name_faults(kind: PauseKind, name: str) -> Iterator[Violation]:
    if kind is PauseKind.QUEUE:
        if name:
            yield Violation(field="name", message="The queue has no name.")
    else:
        yield from line("name", name, longest=MAX_PROVIDER_CHARACTERS)


def _text_faults(note: str, by: str) -> Iterator[Violation]:
    yield from line("note", note, longest=MAX_NOTE, shortest=0)
    yield from line("principal", by, longest=MAX_PRINCIPAL)
