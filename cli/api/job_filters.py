"""Options of operators' commands that choose jobs of all tenants."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import click
from calotype.error_reasons import Code

from cli.api.jobs import STATUSES
from cli.api.webhook_options import Moment

#: Options by name of the filter.
_OPTIONS = (
    click.option("--tenant", help="Jobs of this tenant."),
    click.option("--status", multiple=True, type=click.Choice(STATUSES), help="May be repeated."),
    click.option("--id", help="The job with this id."),
    click.option("--operation-id", help="The job of this operation of a provider."),
    click.option("--end-user", help="Jobs of this end user."),
    click.option("--reason", help="Jobs that failed for this reason, such as PROVIDER_AUTH."),
    click.option("--code", type=click.Choice([code.value for code in Code]), help="Jobs that failed with this code."),
    click.option("--provider", help="Jobs that are routed to this provider."),
    click.option("--created-after", type=Moment(), help="Jobs accepted after this time."),
    click.option("--created-before", type=Moment(), help="Jobs accepted before this time."),
)
_NAMES = (
    *("tenant", "status", "id", "operation_id", "end_user", "reason", "code", "provider"),
    *("created_after", "created_before"),
)


def filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds an option for each filter, and passes those that were given as `filters`, by the API's names."""

    @wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        values = {name: kwargs.pop(name) for name in _NAMES}
        filters = {name: list(value) if name == "status" else value for name, value in values.items() if value}
        return command(*args, filters=filters, **kwargs)

    decorated: Callable[..., Any] = wrapped
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated
