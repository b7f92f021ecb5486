"""Requests of operators, for both clients."""

from calotype.client import call_policy
from calotype.ops.v1 import bulk_action_service_pb2 as bulk

#: Jobs of one page of a list.
PAGE_SIZE = 100


def create_bulk_action(
    request: bulk.BulkActionRequest, *, idempotency_key: str | None, by: str
) -> bulk.CreateBulkActionRequest:
    """Returns the request; with a new key for None."""
    return bulk.CreateBulkActionRequest(
        request=request, principal=by, idempotency_key=idempotency_key or call_policy.new_key()
    )
