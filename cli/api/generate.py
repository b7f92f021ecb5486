"""`calotype generate`: a prompt in, pictures out."""

import base64
import json
import mimetypes
import sys
import uuid
from pathlib import Path
from typing import Any

import click

from cli.api.client import ConnectionOptions, GatewayApi, connection_options
from cli.api.progress import show, tell_end
from cli.errors import CommandFailed, ExitCode

EXTENSIONS = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp"}


@click.command()
@click.argument("prompt")
@click.option("--provider", help="Provider of the catalogue.")
@click.option("--model", help="Model of that provider.")
@click.option("--size", help="WIDTHxHEIGHT in pixels.")
@click.option("--aspect-ratio", help="A:B, in place of a size.")
@click.option("-n", "count", type=click.IntRange(1, 10), default=1, show_default=True, help="Number of pictures.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="The same seed gives the same picture.")
@click.option(
    "--image",
    "images",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A picture to start from; may be repeated.",
)
@click.option("-o", "output", type=click.Path(dir_okay=False, path_type=Path), help="Where to save the picture.")
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
    as_json: bool,
    no_wait: bool,
    cancel_on_interrupt: bool,
    connection: ConnectionOptions,
) -> int:
    """Submit a job, show its progress, save its pictures. PROMPT - reads standard input."""
    wanted = {
        "prompt": sys.stdin.read().strip() if prompt == "-" else prompt,
        "provider": provider,
        "model": model,
        "size": size,
        "aspect_ratio": aspect_ratio,
        "n": count,
        "seed": seed,
        "input_images": [_picture(path) for path in images] or None,
    }
    body = {name: value for name, value in wanted.items() if value is not None}
    with connection.open() as api:
        # A key of its own: should the answer be lost and asked again, no second job is made.
        job = api.submit(body, idempotency_key=f"cli-{uuid.uuid4()}")
        if no_wait:
            click.echo(json.dumps(job) if as_json else job["id"])
            return ExitCode.DONE
        job = _follow(api, job["id"], cancel_on_interrupt=cancel_on_interrupt)
        if as_json:
            click.echo(json.dumps(job))
        _deliver(api, job, output, quiet=as_json)
        return tell_end(job)


def _follow(api: GatewayApi, job_id: str, *, cancel_on_interrupt: bool) -> dict[str, Any]:
    try:
        show(api.watch(job_id))
    except KeyboardInterrupt:
        if cancel_on_interrupt:
            api.act(job_id, "cancel")
            raise CommandFailed(f"canceled {job_id}", ExitCode.INTERRUPTED) from None
        hint = f"The job goes on; watch it with: calotype jobs watch {job_id}"
        raise CommandFailed(hint, ExitCode.INTERRUPTED) from None
    return api.get(job_id)


def _deliver(api: GatewayApi, job: dict[str, Any], output: Path | None, *, quiet: bool) -> None:
    artifacts = job["artifacts"]
    for artifact in artifacts:
        if output is not None:
            path = _path(output, artifact, several=len(artifacts) > 1)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(api.download(artifact["url"]))
            except OSError as error:
                raise CommandFailed(f"Cannot write {path}: {error.strerror}.") from error
            click.echo(f"saved {path}", err=True)
        if not quiet:
            click.echo(artifact["url"])


def _path(output: Path, artifact: dict[str, Any], *, several: bool) -> Path:
    suffix = output.suffix or EXTENSIONS.get(artifact["content_type"], "")
    number = f"-{artifact['index'] + 1}" if several else ""
    return output.with_name(f"{output.stem}{number}{suffix}")


def _picture(path: Path) -> dict[str, str]:
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return {"data": base64.b64encode(path.read_bytes()).decode(), "content_type": kind}
