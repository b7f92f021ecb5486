"""One door for every no: in OpenAI's shape on OpenAI's paths, else as a problem."""

from fastapi.responses import Response

from gateway import problems
from gateway.openai_images import errors
from gateway.problems import Problem


def respond(problem: Problem, *, instance: str, request_id: str) -> Response:
    """The HTTP answer; `instance` is the path as it was sent."""
    if errors.speaks(instance):
        return errors.respond(problem)
    return problems.respond(problem, instance=instance, request_id=request_id)
