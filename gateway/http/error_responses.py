"""Builds the error response: OpenAI's format under its paths, RFC 9457 elsewhere."""

from fastapi.responses import Response

from gateway.openai_images import errors
from gateway.problems import problem
from gateway.problems.problem import Problem


def respond(error: Problem, *, instance: str, request_id: str) -> Response:
    """Returns the HTTP response; `instance` is the path of the request."""
    if errors.is_openai_path(instance):
        return errors.respond(error)
    return problem.respond(error, instance=instance, request_id=request_id)
