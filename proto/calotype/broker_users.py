"""Users of the message broker and the subjects that they may publish and read: one per service, one for operators.

Part of the contract, like `streams`: subjects that are not listed are refused. The broker of `calotype up` is
configured from this table, and a test compares deploy/k8s with it.

Each worker has an account of its own, into which the subjects that it may publish to are imported. Permissions alone
are not enough: a server checks no permission for a request's reply subject, and a response that is sent to
`$JS.API.STREAM.DELETE...` deletes a stream. In a worker's account, responses reach only that worker.
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

    #: Name of the user.
    name: str
    #: Account of the broker that it belongs to.
    account: str
    #: Subjects that it may publish to; all others are refused.
    publish: tuple[str, ...]
    #: Subjects that it may subscribe to; all others are refused.
    subscribe: tuple[str, ...]


def has_streamed_response(subject: str) -> bool:
    """Returns whether a request on the subject has many messages as its response, rather than one or none."""
    return subject.startswith(f"{_API}.CONSUMER.MSG.NEXT.")


def inbox_prefix(user: str) -> str:
    """Returns the prefix of the subjects of the broker's responses to a user, who may subscribe only to these."""
    return f"_INBOX_{user}"


def _inboxes(user: str) -> str:
    return f"{inbox_prefix(user)}.>"


def _read_subjects(stream: str, durable: str) -> tuple[str, str]:
    """Returns the subjects for fetching from an existing consumer and acknowledging."""
    return f"{_API}.CONSUMER.MSG.NEXT.{stream}.{durable}", f"$JS.ACK.{stream}.{durable}.>"


def _worker(name: str, publishes: Iterable[str], consumers: Iterable[Consumer]) -> User:
    """Returns a worker that publishes facts and gets wake-ups; it declares, changes and deletes nothing."""
    pairs = ((consumer["stream"], consumer["durable"]) for consumer in consumers)
    read_subjects = (subject for stream, durable in pairs for subject in _read_subjects(stream, durable))
    return User(name=name, account=name.upper(), publish=(*publishes, *read_subjects), subscribe=(_inboxes(name),))


def _declaration_subjects() -> tuple[str, ...]:
    """Returns the subjects for declaring streams and consumers and reading their state."""
    verbs = ("INFO", "CREATE", "UPDATE")
    facts: Consumer = {
        "stream": streams.FACTS["name"], "durable": streams.FACTS_CONSUMER, "subject": "calotype.fact.>"
    }  # fmt: skip
    return (
        *(f"{_API}.STREAM.{verb}.{stream['name']}" for stream in streams.STREAMS for verb in verbs),
        *(
            f"{_API}.CONSUMER.{verb}.{consumer['stream']}.{consumer['durable']}"
            for consumer in (facts, *streams.WAKE_CONSUMERS)
            for verb in ("INFO", "DURABLE.CREATE")
        ),
    )


def _stored_message_subjects(stream: str) -> tuple[str, str]:
    """Returns the subjects for reading and deleting single messages of a stream."""
    return f"{_API}.STREAM.MSG.GET.{stream}", f"{_API}.STREAM.MSG.DELETE.{stream}"


JOB = User(
    name="job",
    account=STREAMS_ACCOUNT,
    publish=(
        *streams.EVENTS["subjects"],
        *streams.WORK["subjects"],
        # Parked and dead facts are published again.
        *streams.FACTS["subjects"],
        streams.PARKED_FACT,
        streams.DEAD_FACT,
        *_declaration_subjects(),
        *_read_subjects(streams.FACTS["name"], streams.FACTS_CONSUMER),
        # Deletes facts that are acknowledged and still stored.
        f"{_API}.STREAM.PURGE.{streams.FACTS['name']}",
        *_stored_message_subjects(streams.PARKED_FACTS["name"]),
        *_stored_message_subjects(streams.DEAD_LETTERS["name"]),
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
#: For the people who operate the installation: every subject.
OPERATOR = User(name="operator", account=STREAMS_ACCOUNT, publish=(">",), subscribe=(">",))
USERS = (JOB, OPERATOR, GENERATOR, UPLOADER, NOTIFIER)

HEALTH_REQUEST, SETTINGS_REQUEST = "$SYS.REQ.SERVER.PING.HEALTHZ", "$SYS.REQ.SERVER.PING.VARZ"
#: Of the embedded stack: reads the state of the server, in an account without messages.
MONITOR = User(
    name="monitor", account=SYSTEM_ACCOUNT, publish=(HEALTH_REQUEST, SETTINGS_REQUEST), subscribe=(_inboxes("monitor"),)
)
