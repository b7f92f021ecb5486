"""Makes one image for each line of a file, with nothing but Python.

    CALOTYPE_URL=http://127.0.0.1:8080 CALOTYPE_API_KEY=... python make_images.py prompts.txt images

The idempotency key of a line is made from the line, so a script that is run again continues where it was: nothing is
made or paid for twice, and images that are there already are not downloaded again.
"""

import hashlib
import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

#: Jobs that one request submits.
BATCH = 100
#: Seconds that a request for a job is held, and seconds until it counts as lost.
HOLD, TIMEOUT = 30, 60
FINAL = {"completed", "failed", "canceled"}


def call(path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
    """Returns the response of the service as JSON: a POST with a body, a GET without."""
    request = urllib.request.Request(
        os.environ["CALOTYPE_URL"] + path,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json", **(headers or {})},
    )
    if key := os.environ.get("CALOTYPE_API_KEY"):
        request.add_header("Authorization", f"Bearer {key}")
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        return json.load(response)


def submitted(prompts: list[str]) -> list[dict[str, Any]]:
    """Returns a result for each prompt, in order: `job`, or `problem` if it was refused."""
    results: list[dict[str, Any]] = []
    for first in range(0, len(prompts), BATCH):
        jobs = [
            {"prompt": prompt, "idempotency_key": hashlib.sha256(prompt.encode()).hexdigest()}
            for prompt in prompts[first : first + BATCH]
        ]
        results += call("/v1/jobs:batch", {"jobs": jobs})["results"]
    return results


def finished(job: dict[str, Any]) -> dict[str, Any]:
    """Returns the job once it is final."""
    while job["status"] not in FINAL:
        job = call(f"/v1/jobs/{job['id']}", headers={"Prefer": f"wait={HOLD}"})
    return job


def save(artifact: dict[str, Any], path: Path) -> None:
    """Downloads an image whole or not at all. Raises `ValueError` if it is not the one that was made."""
    if path.exists():
        return
    with urllib.request.urlopen(artifact["url"], timeout=TIMEOUT) as response:
        content = response.read()
    if hashlib.sha256(content).hexdigest() != artifact["sha256"]:
        raise ValueError(f"{artifact['url']} is not what was made")
    part = path.with_suffix(".part")
    part.write_bytes(content)
    part.replace(path)


def main(prompts_file: str, folder: str) -> int:
    """Makes the images; returns 1 if any prompt got none."""
    lines = Path(prompts_file).read_text(encoding="utf-8").splitlines()
    prompts = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    Path(folder).mkdir(parents=True, exist_ok=True)
    failures = 0
    for prompt, result in zip(prompts, submitted(prompts), strict=True):
        job = finished(result["job"]) if result["job"] else None
        if job is None or job["status"] != "completed":
            failures += 1
            reason = result["problem"]["detail"] if job is None else job["display"]["message"]
            print(f"{prompt}: {reason}", file=sys.stderr)
            continue
        for artifact in job["artifacts"]:
            suffix = artifact["content_type"].removeprefix("image/")
            path = Path(folder) / f"{job['id']}-{artifact['index']}.{suffix}"
            save(artifact, path)
            print(path)
    return 1 if failures else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: make_images.py PROMPTS FOLDER")
    try:
        sys.exit(main(*sys.argv[1:]))
    except urllib.error.HTTPError as error:
        sys.exit(f"{error.url}: {error.code} {error.read().decode(errors='replace')[:1000]}")
    except urllib.error.URLError as error:
        sys.exit(f"the service cannot be reached: {error.reason}; run this again to continue")
