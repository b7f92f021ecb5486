"""Client tokens, as they are handed out."""

from gateway.client_tokens import TokenAction
from gateway.schemas.wire import Moment, View


class ClientTokenView(View):
    """A token for one job; it is shown here and nowhere else."""

    token: str
    """For `Authorization: Bearer`, or at `/events` for `?access_token=`."""
    job_id: str
    actions: list[TokenAction]
    expires_at: Moment
