"""What a shell exports so that programs find a stack and its key, and whether they need the key now."""

import http.client
import json

from cli.stack.probes import http_answer
from cli.stack.state import StackState

#: The gateway asks job-service first, and gives up within two seconds.
ANSWER_SECONDS = 5.0


def exports(state: StackState) -> list[str]:
    """Lines for a shell: the key, and the address and key for programs that know OpenAI's API."""
    return [
        f"export CALOTYPE_API_KEY={state.api_key}",
        f"export OPENAI_BASE_URL={state.http}/v1",
        f"export OPENAI_API_KEY={state.api_key}",
    ]


def key_need(state: StackState) -> str:
    """One sentence: whether a key is needed now, and why. It is the gateway's, which is asked without a key."""
    answer = http_answer(f"{state.http}/v1/providers", seconds=ANSWER_SECONDS)
    if answer is None:
        return "Whether a key is needed is not known: the gateway does not answer."
    status, body = answer
    if status == http.client.OK:
        return "No key is needed now: every provider is free. One that is not free makes it needed at once."
    if status == http.client.UNAUTHORIZED:
        return f"{_detail(body).partition('. ')[0].rstrip('.')}."
    return f"Whether a key is needed is not known: the gateway answers {status}. {_detail(body)}".rstrip()


def _detail(problem: bytes) -> str:
    """A problem's own words; none where it is none."""
    try:
        return str(json.loads(problem)["detail"])
    except (ValueError, KeyError, TypeError):
        return ""
