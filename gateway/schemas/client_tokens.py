"""Client tokens: what a page in a browser gets in place of a key."""

from typing import Literal

from gateway.schemas.wire import Moment, View

TokenAction = Literal["read", "cancel", "retry"]
#: Longest validity of a client token, in seconds.
LONGEST_SECONDS = 86_400


class ClientTokenView(View):
    """A client token for one job. The service does not store it and cannot return it again."""

    token: str
    """The token: send it as `Authorization: Bearer TOKEN`, or to `/events` as `?access_token=TOKEN`."""
    job_id: str
    """The only job that the token gives access to."""
    actions: list[TokenAction]
    """What the token allows."""
    expires_at: Moment
    """When the token expires."""
