"""`/docs` in a real browser: requests are sent from it, with the key, and its policy is kept."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from cli.stack.state import StackState
from tests.support.browsers.devtools import ScriptedPage, scripted_page
from tests.support.stacks.stack_clients import Client

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page(stack: StackState, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedPage]:
    """The documentation."""
    with scripted_page(f"{stack.http}/docs", tmp_path_factory.mktemp("browser")) as opened:
        yield opened
        # A refused request is an error of the console, too; nothing else may be.
        assert [error for error in opened.errors if "status of 401" not in error] == []


def opened_form(page: ScriptedPage, operation: str) -> str:
    """Opens the form of an operation; the expression of its element."""
    form = f"document.querySelector('#{operation} .try-it')"
    page.evaluate(f"{form} ?? document.querySelector('#{operation} button').click()")
    page.wait_for(f"!!{form}")
    return form


def sent(page: ScriptedPage, form: str) -> tuple[str, str, str]:
    """Sends a form; status line, command for a shell and body of the response."""
    page.evaluate(f"{form}.requestSubmit()")
    page.wait_for(f"/ ms$|^No response/.test({form}.querySelector('[role=status]').textContent)")
    texts: list[str] = page.evaluate(
        f"[...{form}.querySelectorAll('[role=status], pre')].map((one) => one.textContent)"
    )
    status, command, _, body = texts
    return status, command, body


def with_key(page: ScriptedPage, key: str) -> None:
    """Enters the key."""
    page.evaluate(f"document.querySelector('#key').value = {json.dumps(key)}")


def filled(page: ScriptedPage, form: str, selector: str, value: str) -> None:
    """Enters a value into an input of a form."""
    page.evaluate(f"{form}.querySelector({json.dumps(selector)}).value = {json.dumps(value)}")


def test_a_job_is_submitted_followed_and_read_from_the_page(
    page: ScriptedPage, stack: StackState, client: Client
) -> None:
    with_key(page, stack.api_key)
    form = opened_form(page, "createJob")
    filled(page, form, "textarea", '{"prompt": "from the documentation", "size": "64x64"}')
    status, command, body = sent(page, form)
    job: dict[str, Any] = json.loads(body)

    assert status.startswith("20")
    assert "\n  " in body
    assert client.follow(job["id"])["status"] == "completed"
    assert "$CALOTYPE_API_KEY" in command
    assert stack.api_key not in command

    form = opened_form(page, "watchJob")
    filled(page, form, "input", job["id"])
    status, _, body = sent(page, form)
    assert (status[:3], "event: job" in body) == ("200", True)


def test_a_wrong_key_is_refused_and_the_reason_shown(page: ScriptedPage) -> None:
    with_key(page, "wrong")
    status, _, body = sent(page, opened_form(page, "listJobs"))

    assert status.startswith("401")
    assert json.loads(body)["reason"] == "UNAUTHENTICATED"


def test_a_form_with_files_has_an_input_for_each_field(page: ScriptedPage) -> None:
    form = opened_form(page, "editImages")

    assert page.evaluate(f"[...{form}.querySelectorAll('input[type=file]')].map((one) => one.multiple)") == [
        True,
        False,
    ]


def test_whole_numbers_stay_as_they_were_sent(page: ScriptedPage) -> None:
    text = '{"seed":9223372036854775807,"none":[],"text":"a, {b}: \\"c\\"","list":[1,{"a":true}]}'
    shown = page.evaluate(f"import('/docs/try-it.js').then((made) => made.indented({json.dumps(text)}))")

    assert json.loads(shown) == json.loads(text)
    assert shown.splitlines()[1] == '  "seed": 9223372036854775807,'
    assert '"none": [],' in shown
