"""Wake-ups from the broker: they say that work of a kind may be waiting."""

from calotype import streams

from common.consuming import WakeUps
from common.declarations import ConsumerSpec
from common.jetstream import JetStream

_WAKE, _SETTLE = ConsumerSpec(**streams.GENERATOR_WAKE), ConsumerSpec(**streams.GENERATOR_SETTLE)


def of_jobs(broker: JetStream) -> WakeUps:
    """Jobs may be waiting for a generator."""
    return WakeUps(broker, _WAKE)


def of_settlements(broker: JetStream) -> WakeUps:
    """Calls of final jobs may be waiting for their end."""
    return WakeUps(broker, _SETTLE)
