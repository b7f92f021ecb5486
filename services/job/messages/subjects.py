"""Which types of facts may come on which subject: whoever may publish on one speaks for no other service."""

from collections.abc import Mapping

from calotype import streams

#: By the first part of a subject, what its sender may state. `objects_deleted` is how older workers told it.
TYPES: Mapping[str, frozenset[str]] = {
    streams.FACT_GENERATION: frozenset(
        {
            "provider_call_accepted",
            "images_generated",
            "stage_failed",
            "call_settled",
            "ledger_settled",
            "objects_deleted",
        }
    ),
    streams.FACT_UPLOAD: frozenset({"images_stored", "stage_failed", "objects_deleted"}),
}


def may_come_on(subject: str, kind: str) -> bool:
    """Whether a fact of this type may come on this subject."""
    sender, _, rest = subject.rpartition(".")
    return bool(rest) and kind in TYPES.get(sender, ())
