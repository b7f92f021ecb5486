"""The page of events for other teams is what the contracts say."""

from calotype.event.v1 import event_pb2

from services.job.domain.states import Transition
from tests.support.pages import events


def test_the_page_is_fresh() -> None:
    assert events.PAGE.read_text(encoding="utf-8") == events.page(), "run python -m tests.support.pages.events"


def test_every_part_of_the_page_is_filled() -> None:
    page = events.page()

    assert "{{" not in page
    assert [name for name, part in events.parts().items() if part not in page] == []


def test_the_message_is_described_by_its_comment_alone() -> None:
    text = events.parts()["message"]

    assert text.startswith("JobEvent states that a job changed.")
    assert "syntax" not in text


def test_every_field_of_the_message_is_listed() -> None:
    rows = [line for line in events.parts()["fields"].splitlines()[2:] if line.endswith(". |")]

    assert len(rows) == len(event_pb2.JobEvent.DESCRIPTOR.fields)


def test_the_listed_types_are_those_that_are_published() -> None:
    assert sorted(events.event_types()) == sorted(Transition)
