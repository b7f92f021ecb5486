"""Ends what operators' calls have paused, for stacks that several tests share."""

import time

import httpx

from tests.support.patience import PATIENCE


def end_pauses(url: str, operator_key: str) -> None:
    """Resumes everything that is paused; waits while the service does not respond."""
    deadline = time.monotonic() + PATIENCE
    headers = {"Authorization": f"Bearer {operator_key}"}
    with httpx.Client(base_url=url, headers=headers, timeout=PATIENCE) as http:
        while (listed := http.get("/v1/admin/pauses")).status_code != 200 or listed.json()["pauses"]:
            assert time.monotonic() < deadline, listed.text
            for pause in listed.json().get("pauses", ()):
                of = "queue" if pause["kind"] == "queue" else f"{pause['kind']}s/{pause['name']}"
                http.post(f"/v1/admin/{of}:resume")
