"""Wake-ups from the broker: they say that work of a kind may be waiting."""

from calotype import streams

from common.consuming import Hints
from common.declarations import ConsumerSpec
from common.jetstream import JetStream

_WAKE, _SETTLE = ConsumerSpec(**streams.GENERATOR_WAKE), ConsumerSpec(**streams.GENERATOR_SETTLE)


def of_jobs(broker: JetStream) -> Hints:
    """Jobs may be waiting for a generator."""
    return Hints(broker, _WAKE)


def of_settlements(broker: JetStream) -> Hints:
    """Calls of final jobs may be waiting for their end."""
    return Hints(broker, _SETTLE)
