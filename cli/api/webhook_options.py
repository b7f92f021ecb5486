"""Options that the commands about webhooks share."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

C = TypeVar("C", bound=Callable[..., Any])
EVENT_TYPES = (
    *("job.completed", "job.failed", "job.canceled", "job.settled"),
    *("webhook.degraded", "webhook.recovered", "webhook.disabled"),
)
STATES = ("pending", "sending", "delivered", "superseded", "failed", "held")

json_option = click.option("--json", "as_json", is_flag=True, help="Print the response as JSON.")


def page_options(command: C) -> C:
    """Adds `--page-size` and `--page-token`."""
    command = click.option("--page-token", help="Token that the page before ended with.")(command)
    return click.option("--page-size", type=click.IntRange(1, 100), default=20, show_default=True)(command)


class Moment(click.ParamType[str]):
    """A time in ISO 8601, as RFC 3339 in UTC; without a time zone it is in that of this machine."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Returns the time as the API reads it."""
        try:
            moment = datetime.fromisoformat(value).astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail("write a time as 2026-01-31T12:00:00Z, or 2026-01-31 12:00 in your time zone.", param, ctx)
        return moment.isoformat().replace("+00:00", "Z")
