"""What operators see."""

from gateway.schemas.wire import Moment, View


class DeadLetterView(View):
    """A message that was refused for good; its body is not shown."""

    id: str
    died_at: Moment
    reason: str
    subject: str
    type: str | None
    job_id: str | None
    size_bytes: int
    sha256: str


class DeadLetterPage(View):
    """Dead letters, oldest first."""

    dead_letters: list[DeadLetterView]
    next_page_token: str | None
