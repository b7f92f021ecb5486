"""Client tokens, as they are handed out."""

from typing import Literal

from gateway.schemas.wire import Moment, View

TokenAction = Literal["read", "cancel", "retry"]
#: Longest validity of a client token, in seconds.
LONGEST_SECONDS = 86_400


class ClientTokenView(View):
    """A token for one job; it is shown here and nowhere else."""

    token: str
    """For `Authorization: Bearer`, or at `/events` for `?access_token=`."""
    job_id: str
    actions: list[TokenAction]
    expires_at: Moment
