"""What the security page says of processes and ports is what the code gives them."""

import re
from pathlib import Path

import yaml

from cli.stack import embedded, keys, services, storage
from cli.stack.object_store.access import Bucket

ROOT = Path(__file__).parents[3]
#: Ports of servers, by what `Ports` calls them.
SERVERS = {"postgres": "postgres", "nats": "nats", "storage": "storage"}


def table(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, its head left out."""
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    below = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+) \|$", below, re.MULTILINE)
    return [[cell.strip().strip("`") for cell in row.split(" | ")] for row in rows[2:]]


def roles_of(folder: Path) -> dict[str, str]:
    """The roles that the stack gives each service over gRPC."""
    made, _ = keys.load_or_create(folder)
    file = keys.write_identities(folder, made)
    entries = yaml.safe_load(file.read_text(encoding="utf-8"))["identities"]
    return {
        one["name"]: ", ".join(one["roles"]) + ("; every tenant" if one["tenants"] == "*" else "") for one in entries
    }


def granted(bucket: Bucket, name: str) -> str:
    return ", ".join(sorted(bucket.grants.get(name, ()))) or "-"


def test_every_port_is_listed_and_no_other() -> None:
    listens = {(one.name, name) for one in services.SERVICES for name in one.settings if name.endswith("_LISTEN")}

    assert {(process, port) for process, port, _ in table("Ports")} == listens | set(SERVERS.items())


def test_every_process_of_a_stack_is_listed() -> None:
    names = {name for phase in embedded.STOPPING_ORDER for name in phase}

    assert {process for process, *_ in table("Ports")} == names
    assert {process for process, *_ in table("Processes")} == {one.name for one in services.SERVICES}


def test_a_process_may_reach_what_is_listed_and_no_more(tmp_path: Path) -> None:
    roles = roles_of(tmp_path)
    expected = [
        [
            one.name,
            "its own schema" if "DATABASE_URL" in one.settings else "-",
            roles.get(one.name, "-"),
            "yes" if "NATS_URL" in one.settings else "-",
            granted(storage.PUBLIC, one.name),
            granted(storage.STAGING, one.name),
            "yes" if one.calls_providers else "-",
        ]
        for one in services.SERVICES
    ]

    assert sorted(table("Processes")) == sorted(expected)
