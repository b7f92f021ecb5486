"""`calotype generate`: submits a job, follows it, prints and saves its images."""

import base64
import json
import mimetypes
import sys
import uuid
from pathlib import Path
from typing import Any

import click

from cli.api.client import ConnectionOptions, GatewayApi, connection_options
from cli.api.progress import follow, report_end
from cli.api.saving import check_folder, save
from cli.errors import CommandFailed, ExitCode


@click.command()
@click.argument("prompt")
@click.option("--provider", help="Provider of the catalogue.")
@click.option("--model", help="Model of that provider.")
@click.option("--size", help="WIDTHxHEIGHT in pixels.")
@click.option("--aspect-ratio", help="A:B, in place of a size.")
@click.option("-n", "count", type=click.IntRange(1, 10), default=1, show_default=True, help="Number of images.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="The same seed gives the same image.")
@click.option(
    "--image",
    "images",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="An image to start from; may be repeated.",
)
@click.option(
    "-o",
    "output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to save the image to; several are saved as FILE-1, FILE-2 and so on. The suffix follows the image's "
    "format. Without -o nothing is saved.",
)
@click.option(
    "--pay-again",
    is_flag=True,
    help="Repeat a provider call whose outcome is unknown, though it may be charged twice.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the job as JSON.")
@click.option("--no-wait", is_flag=True, help="Print the job's id and leave it running.")
@click.option("--cancel-on-interrupt", is_flag=True, help="Ctrl-C cancels the job.")
@connection_options()
def generate(
    prompt: str,
    provider: str | None,
    model: str | None,
    size: str | None,
    aspect_ratio: str | None,
    count: int,
    seed: int | None,
    images: tuple[Path, ...],
    output: Path | None,
    pay_again: bool,
    as_json: bool,
    no_wait: bool,
    cancel_on_interrupt: bool,
    connection: ConnectionOptions,
) -> int:
    """Submit a job, show its progress, print its images' addresses.

    PROMPT - reads standard input. With -o the images are saved, too.
    """
    if output is not None:
        check_folder(output)
    fields = {
        "prompt": sys.stdin.read().strip() if prompt == "-" else prompt,
        "provider": provider,
        "model": model,
        "size": size,
        "aspect_ratio": aspect_ratio,
        "n": count,
        "seed": seed,
        "input_images": [_input_image(path) for path in images] or None,
        "on_ambiguous": "retry" if pay_again else None,
    }
    body = {name: value for name, value in fields.items() if value is not None}
    with connection.open() as api:
        # One key per command: a request that is sent again makes no second job.
        job = api.submit(body, idempotency_key=f"cli-{uuid.uuid4()}")
        if no_wait:
            click.echo(json.dumps(job) if as_json else job["id"])
            return ExitCode.DONE
        job = _follow(api, job["id"], cancel_on_interrupt=cancel_on_interrupt)
        if as_json:
            click.echo(json.dumps(job))
        _deliver(api, job, output, quiet=as_json)
        return report_end(job)


def _follow(api: GatewayApi, job_id: str, *, cancel_on_interrupt: bool) -> dict[str, Any]:
    def cancel() -> None:
        api.act(job_id, "cancel")
        raise CommandFailed(f"canceled {job_id}", ExitCode.INTERRUPTED)

    return follow(api, job_id, on_interrupt=cancel if cancel_on_interrupt else None)


def _deliver(api: GatewayApi, job: dict[str, Any], output: Path | None, *, quiet: bool) -> None:
    """Prints the addresses of the job's images unless `quiet`, and saves the images to `output` unless that is None."""
    artifacts = job["artifacts"]
    for artifact in artifacts:
        if not quiet:
            click.echo(artifact["url"])
        if output is not None:
            save(api.download(artifact["url"]), output, artifact, several=len(artifacts) > 1)


def _input_image(path: Path) -> dict[str, str]:
    content_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return {"data": base64.b64encode(path.read_bytes()).decode(), "content_type": content_type}
