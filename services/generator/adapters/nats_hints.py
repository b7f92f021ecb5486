"""Wake-ups from the broker: they say that work of a kind may be waiting."""

from calotype import streams

from common.consuming import Hints
from common.jetstream import JetStream
from common.pulling import ConsumerSpec

_WAKE = ConsumerSpec(stream=streams.WORK["name"], durable="generator-wake", subject=streams.WAKE_GENERATE)
_SETTLE = ConsumerSpec(stream=streams.WORK["name"], durable="generator-settle", subject=streams.WAKE_SETTLE)


def of_jobs(broker: JetStream) -> Hints:
    """Jobs may be waiting for a generator."""
    return Hints(broker, _WAKE)


def of_settlements(broker: JetStream) -> Hints:
    """Calls of final jobs may be waiting for their end."""
    return Hints(broker, _SETTLE)
