"""A job as the holder of a client token sees it."""

from gateway.auth.client_tokens import Grant
from gateway.schemas.client_tokens import TokenAction
from gateway.schemas.jobs import Action, JobView, RequestView

_NEEDS: dict[Action, TokenAction] = {"cancel": "cancel", "retry": "retry", "retry_may_charge_again": "retry"}


def for_holder(job: JobView, grant: Grant) -> JobView:
    """The job without what is its tenant's alone: costs, labels, addresses; only the actions that are granted."""
    actions = [action for action in job.display.actions if _NEEDS[action] in grant.actions]
    return job.model_copy(
        update={
            "request": None if job.request is None else _request(job.request),
            "display": job.display.model_copy(update={"actions": actions}),
            "cost": job.cost.model_copy(update={"amount_micros": None}),
            "metadata": {},
            "end_user": None,
        }
    )


def _request(request: RequestView) -> RequestView:
    images = [one.model_copy(update={"url": None}) for one in request.input_images]
    mask = None if request.mask is None else request.mask.model_copy(update={"url": None})
    return request.model_copy(
        update={"input_images": images, "mask": mask, "callback_url": None, "metadata": {}, "end_user": None}
    )
