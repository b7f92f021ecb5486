"""Reduces a job to what the holder of a client token may see."""

from gateway.auth.client_tokens import Grant
from gateway.schemas.client_tokens import TokenAction
from gateway.schemas.jobs import Action, JobView, RequestView

_REQUIRED_ACTION: dict[Action, TokenAction] = {"cancel": "cancel", "retry": "retry", "retry_may_charge_again": "retry"}


def for_holder(job: JobView, grant: Grant) -> JobView:
    """Returns the job without its tenant's private data (costs, labels, URLs), with only the granted actions."""
    actions = [action for action in job.display.actions if _REQUIRED_ACTION[action] in grant.actions]
    return job.model_copy(
        update={
            "request": None if job.request is None else _request(job.request),
            "display": job.display.model_copy(update={"actions": actions}),
            "cost": job.cost.model_copy(update={"amount_micros": None}),
            "wait": None if job.wait is None else job.wait.model_copy(update={"limit": None}),
            "metadata": {},
            "end_user": None,
        }
    )


def _request(request: RequestView) -> RequestView:
    images = [image.model_copy(update={"url": None}) for image in request.input_images]
    mask = None if request.mask is None else request.mask.model_copy(update={"url": None})
    return request.model_copy(
        update={"input_images": images, "mask": mask, "callback_url": None, "metadata": {}, "end_user": None}
    )
