"""Wake-ups from the broker: messages that jobs or settlements may be due."""

from calotype import streams

from common.consuming import WakeUps
from common.declarations import ConsumerSpec
from common.jetstream import JetStream

_WAKE, _SETTLE = ConsumerSpec(**streams.GENERATOR_WAKE), ConsumerSpec(**streams.GENERATOR_SETTLE)


def of_jobs(broker: JetStream) -> WakeUps:
    """Returns the wake-ups for jobs that may be due."""
    return WakeUps(broker, _WAKE)


def of_settlements(broker: JetStream) -> WakeUps:
    """Returns the wake-ups for open calls of final jobs that may be due."""
    return WakeUps(broker, _SETTLE)
