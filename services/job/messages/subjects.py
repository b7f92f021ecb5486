"""Allowed types of facts by subject, so that no service can publish facts of another one."""

from collections.abc import Mapping

from calotype import streams

#: Allowed types by a subject without its last token. `objects_deleted` is sent by workers of older versions.
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
    """Whether a fact of this type is allowed on this subject."""
    sender, _, rest = subject.rpartition(".")
    return bool(rest) and kind in TYPES.get(sender, ())
