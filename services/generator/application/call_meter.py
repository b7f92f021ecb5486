"""Measures provider calls: their duration, their errors and their cost."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from common.telemetry import metrics, registry
from services.generator.application.claim import Interrupted
from services.generator.domain.jobs import Call
from services.generator.domain.provider_results import StageError


@contextmanager
def measured(provider: str, call: Call) -> Iterator[None]:
    """Measures the block as one call; enter it inside the call's span, which becomes the exemplar."""
    began_at, outcome = perf_counter(), "interrupted"
    try:
        yield
        outcome = "succeeded"
    except Interrupted:
        raise
    except StageError as error:
        outcome = "failed"
        metrics.count(registry.PROVIDER_CALL_ERRORS, provider, call.model, str(error.code), str(error.reason))
        raise
    finally:
        metrics.observe(registry.PROVIDER_CALL_SECONDS, perf_counter() - began_at, provider, call.model, outcome)


def count_cost(provider: str, call: Call, cost_micros: int | None) -> None:
    """Adds the cost of a successful call; None is unknown."""
    metrics.count(registry.PROVIDER_COST_MICROS, provider, call.model, by=max(cost_micros or 0, 0))
