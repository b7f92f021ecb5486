"""Who may publish and read what on the message broker: one user per service, and one for operators.

Part of the contract, beside `streams`: what is not listed is refused. The broker of `calotype up` is configured from
this table, and a test compares deploy/k8s with it.

Each worker has an account of its own, into which the subjects that it may publish to are imported. Permissions alone
would not do: a server checks no permission of the subject that it is told to answer to, and an answer that is sent to
`$JS.API.STREAM.DELETE...` deletes. In a worker's account, answers reach nobody but that worker.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from calotype import streams
from calotype.streams import Consumer

_API = "$JS.API"
#: The account of streams, and that of the server itself.
STREAMS_ACCOUNT, SYSTEM_ACCOUNT = "CALOTYPE", "$SYS"


@dataclass(frozen=True, kw_only=True)
class User:
    """A user of the broker, and the subjects that it may publish and subscribe to; wildcards are the broker's."""

    name: str
    account: str
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def has_many_answers(subject: str) -> bool:
    """Whether a request on the subject is answered with messages, rather than once or never."""
    return subject.startswith(f"{_API}.CONSUMER.MSG.NEXT.")


def inbox_prefix(user: str) -> str:
    """What subjects begin with on which the broker answers a user; each user may subscribe to its own alone."""
    return f"_INBOX_{user}"


def _inboxes(user: str) -> str:
    return f"{inbox_prefix(user)}.>"


def _reads(stream: str, durable: str) -> tuple[str, str]:
    """Fetch from a consumer that is there, and acknowledge."""
    return f"{_API}.CONSUMER.MSG.NEXT.{stream}.{durable}", f"$JS.ACK.{stream}.{durable}.>"


def _worker(name: str, publishes: Iterable[str], consumers: Iterable[Consumer]) -> User:
    """A service that states facts and is woken; it creates, changes and deletes nothing."""
    reads = (subject for one in consumers for subject in _reads(one["stream"], one["durable"]))
    return User(name=name, account=name.upper(), publish=(*publishes, *reads), subscribe=(_inboxes(name),))


def _declares() -> tuple[str, ...]:
    """Make streams and consumers, and look at them."""
    verbs = ("INFO", "CREATE", "UPDATE")
    facts: Consumer = {
        "stream": streams.FACTS["name"], "durable": streams.FACTS_CONSUMER, "subject": "calotype.fact.>"
    }  # fmt: skip
    return (
        *(f"{_API}.STREAM.{verb}.{one['name']}" for one in streams.STREAMS for verb in verbs),
        *(
            f"{_API}.CONSUMER.{verb}.{one['stream']}.{one['durable']}"
            for one in (facts, *streams.WAKE_CONSUMERS)
            for verb in ("INFO", "DURABLE.CREATE")
        ),
    )


def _keeps(stream: str) -> tuple[str, str]:
    """Read and delete single messages: of what was put aside."""
    return f"{_API}.STREAM.MSG.GET.{stream}", f"{_API}.STREAM.MSG.DELETE.{stream}"


JOB = User(
    name="job",
    account=STREAMS_ACCOUNT,
    publish=(
        *streams.EVENTS["subjects"],
        *streams.WORK["subjects"],
        # Those that were put aside are published again.
        *streams.FACTS["subjects"],
        streams.PARKED_FACT,
        streams.DEAD_FACT,
        *_declares(),
        *_reads(streams.FACTS["name"], streams.FACTS_CONSUMER),
        # Facts that were acknowledged and are still there.
        f"{_API}.STREAM.PURGE.{streams.FACTS['name']}",
        *_keeps(streams.PARKED_FACTS["name"]),
        *_keeps(streams.DEAD_LETTERS["name"]),
    ),
    subscribe=(*streams.EVENTS["subjects"], "calotype.progress.*.*", _inboxes("job")),
)
GENERATOR = _worker(
    "generator",
    [f"{streams.FACT_GENERATION}.*", "calotype.progress.*.*"],
    [streams.GENERATOR_WAKE, streams.GENERATOR_SETTLE],
)
UPLOADER = _worker("uploader", [f"{streams.FACT_UPLOAD}.*"], [streams.UPLOADER_WAKE, streams.UPLOADER_DELETE])
NOTIFIER = _worker("notifier", [], [streams.NOTIFIER_WAKE])
#: For people: whoever runs the installation may do everything.
OPERATOR = User(name="operator", account=STREAMS_ACCOUNT, publish=(">",), subscribe=(">",))
USERS = (JOB, OPERATOR, GENERATOR, UPLOADER, NOTIFIER)

HEALTH_REQUEST, SETTINGS_REQUEST = "$SYS.REQ.SERVER.PING.HEALTHZ", "$SYS.REQ.SERVER.PING.VARZ"
#: Of the embedded stack: asks how the server does, in an account without messages.
MONITOR = User(
    name="monitor", account=SYSTEM_ACCOUNT, publish=(HEALTH_REQUEST, SETTINGS_REQUEST), subscribe=(_inboxes("monitor"),)
)
