"""The page of events for other teams, `docs/events.md`, from the contracts and their comments.

`python -m tests.support.pages.events` writes the page again.
"""

import re
from pathlib import Path

from calotype import streams
from calotype.broker_users import STREAMS_ACCOUNT, User, inbox_prefix
from calotype.streams import EVENTS, Consumer

from cli.stack.nats_accounts import accounts

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "events.md"
TEMPLATE = Path(__file__).parent / "events.template.md"
PROTO = ROOT / "proto" / "calotype" / "event" / "v1" / "event.proto"
#: The example of a team that reads events: its consumer, and its user of the broker.
CONSUMER: Consumer = {"stream": EVENTS["name"], "durable": "analytics", "subject": "calotype.event.*.*"}
_SUBJECTS = (
    f"$JS.API.CONSUMER.MSG.NEXT.{CONSUMER['stream']}.{CONSUMER['durable']}",
    f"$JS.ACK.{CONSUMER['stream']}.{CONSUMER['durable']}.>",
)
READER = User(name="analytics", account="ANALYTICS", publish=_SUBJECTS, subscribe=(f"{inbox_prefix('analytics')}.>",))
#: Variable of the broker's environment with the password, as in deploy/k8s.
PASSWORD = "$NATS_ANALYTICS_PASSWORD"
_MESSAGE = re.compile(r"((?://[^\n]*\n)+)message JobEvent \{\n(.*?)\n\}", re.DOTALL)
_FIELD = re.compile(r"((?:  //.*\n)+)  ([\w.]+) (\w+) = (\d+);")


def page() -> str:
    """Returns the whole page."""
    text = TEMPLATE.read_text(encoding="utf-8")
    for name, part in parts().items():
        text = text.replace(f"{{{{{name}}}}}", part)
    return text


def parts() -> dict[str, str]:
    """Returns the generated parts of the page, by their names in the template."""
    comment, fields = _job_event()
    return {
        "message": comment,
        "fields": fields,
        "subject": streams.event_subject(tenant="<tenant>", job_id="<job id>"),
        "stream": _stream(),
        "exports": _fenced("exports", "\n".join(_exports())),
        "account": _fenced("account", _account()),
    }


def event_types() -> list[str]:
    """Returns the types of events that the contract lists."""
    return re.findall(r"`(job\.\w+)`", PROTO.read_text(encoding="utf-8"))


def _job_event() -> tuple[str, str]:
    """Returns the comment of the message, and a table of its fields."""
    found = _MESSAGE.search(PROTO.read_text(encoding="utf-8"))
    assert found
    rows = [
        f"| {number} | `{name}` | `{kind}` | {_text(comment)} |"
        for comment, kind, name, number in _FIELD.findall(found[2] + "\n")
    ]
    table = "\n".join(["| number | field | type | meaning |", "| --- | --- | --- | --- |", *rows])
    return _text(found[1]), table


def _text(comment: str) -> str:
    return " ".join(line.strip().removeprefix("//").strip() for line in comment.splitlines())


def _stream() -> str:
    assert EVENTS["max_age_seconds"]
    assert EVENTS["max_bytes"]
    rows = (
        ("name", f"`{EVENTS['name']}`"),
        ("subjects", ", ".join(f"`{subject}`" for subject in EVENTS["subjects"])),
        ("keeps a message", f"{EVENTS['max_age_seconds'] / 86_400:g} days"),
        ("size", f"{EVENTS['max_bytes'] / 1024**3:g} GiB, then the oldest messages are deleted first"),
        ("ignores a repeated `Nats-Msg-Id`", f"for {EVENTS['duplicate_window_seconds']:g} s"),
    )
    return "\n".join(["| property | value |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)])


def _exports() -> list[str]:
    """Returns the lines that the account of the streams exports to the reader."""
    owner = User(name="owner", account=STREAMS_ACCOUNT, publish=(), subscribe=())
    text = accounts([owner, READER], {owner.name: '""', READER.name: PASSWORD})
    return [line.strip() for line in text.splitlines() if f"accounts: [{READER.account}]" in line]


def _account() -> str:
    """Returns the reader's account."""
    return "\n".join(line[2:] for line in accounts([READER], {READER.name: PASSWORD}).splitlines()[1:-1])


def _fenced(name: str, text: str) -> str:
    return f"<!-- {name} -->\n```\n{text}\n```"


def main() -> None:
    """Writes the page again."""
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE} is written")


if __name__ == "__main__":
    main()
