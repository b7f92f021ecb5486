"""Embedded object storage: this project's server with Google Cloud Storage's API, all data in one folder."""

import http.client
import os
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from cli.stack import variables
from cli.stack.child import Program
from cli.stack.keys import write_private
from cli.stack.object_store.access import Access, Bucket, Permission, digest
from cli.stack.ports import free_port
from cli.stack.probes import http_response
from cli.stack.services import source_path

ALL = frozenset(Permission)
#: As in production: one service writes to each bucket, and the uploader reads the staging bucket.
PUBLIC = Bucket(is_public=True, grants={"uploader": ALL})
STAGING = Bucket(grants={"generator": ALL, "uploader": frozenset({Permission.READ})})


def program(
    data: Path, *, log: Path, tokens: Mapping[str, str], buckets: Mapping[str, Bucket], port: int | None = None
) -> tuple[Program, str]:
    """The server and its URL; public objects are at `<url>/<bucket>/<object>`, without a credential.

    All other calls need a bearer token: `tokens` by the identities that buckets grant something to.
    """
    port = port or free_port()
    url = f"http://127.0.0.1:{port}"
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    access = data / "access.json"
    digests = {identity: digest(token) for identity, token in tokens.items()}
    write_private(access, Access(token_sha256=digests, buckets=buckets).as_json())
    server = Program(
        name="storage",
        command=(
            *(sys.executable, "-P", "-m", "cli.stack.object_store"),
            *("--listen", f"127.0.0.1:{port}", "--data", str(data), "--access", str(access)),
        ),
        environment=variables.of_python(os.environ) | {"PYTHONPATH": source_path(os.environ), "PYTHONUNBUFFERED": "1"},
        log=log,
        is_ready=partial(storage_ok, url),
    )
    return server, url


def storage_ok(url: str) -> bool:
    """Whether the server works: it refuses a request without a credential."""
    response = http_response(f"{url}/storage/v1/b")
    return response is not None and response[0] == http.client.UNAUTHORIZED


def may_list(url: str, bucket: str, token: str) -> bool:
    """Whether the server lets the token's identity list a bucket."""
    response = http_response(f"{url}/storage/v1/b/{bucket}/o?maxResults=1", token=token)
    return response is not None and response[0] == http.client.OK
