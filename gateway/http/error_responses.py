"""One door for every no: in OpenAI's shape on OpenAI's paths, else as a problem."""

from fastapi.responses import Response

from gateway.openai_images import errors
from gateway.problems import problem
from gateway.problems.problem import Problem


def respond(error: Problem, *, instance: str, request_id: str) -> Response:
    """The HTTP answer; `instance` is the path as it was sent."""
    if errors.is_openai_path(instance):
        return errors.respond(error)
    return problem.respond(error, instance=instance, request_id=request_id)
