"""Shell variables with which programs find a stack and its key, and whether they need the key now."""

import http.client
import json

from cli.stack.probes import http_response
from cli.stack.state import StackState

#: The gateway calls job-service first, and gives up within two seconds.
RESPONSE_SECONDS = 5.0


def exported(state: StackState) -> dict[str, str]:
    """Returns variables for programs: the key, and address and key for clients of OpenAI's API."""
    return {
        "CALOTYPE_API_KEY": state.api_key,
        "OPENAI_BASE_URL": f"{state.http}/v1",
        "OPENAI_API_KEY": state.api_key,
    }


def exports(state: StackState) -> list[str]:
    """Returns the variables as lines for a shell."""
    return [f"export {name}={value}" for name, value in exported(state).items()]


def key_need(state: StackState) -> str:
    """Calls the gateway without a key; returns a sentence that says whether a key is needed now, and why."""
    response = http_response(f"{state.http}/v1/providers", seconds=RESPONSE_SECONDS)
    if response is None:
        return "Whether a key is needed is not known: the gateway does not answer."
    status, body = response
    if status == http.client.OK:
        return "No key is needed now: every provider is free. As soon as one is not free, the key is needed."
    if status == http.client.UNAUTHORIZED:
        return f"{_detail(body).partition('. ')[0].rstrip('.')}."
    return f"Whether a key is needed is not known: the gateway answers {status}. {_detail(body)}".rstrip()


def _detail(problem: bytes) -> str:
    """The detail of a problem document; empty when the body is none."""
    try:
        return str(json.loads(problem)["detail"])
    except (ValueError, KeyError, TypeError):
        return ""
