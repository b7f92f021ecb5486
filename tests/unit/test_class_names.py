"""A class name stands for one idea: those that several modules define are listed here with the idea that they share."""

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("services", "gateway", "common", "cli", "proto")
#: Classes of the same name in several modules, and what each of them is there.
SHARED = {
    "CallOutcome": "how a provider call ended",
    "CallPhase": "state of a provider call",
    "DeadLetterPage": "a page of dead letters",
    "Facts": "port through which a worker publishes facts",
    "FirstUse": "the request that used an idempotency key first",
    "GrpcJobService": "a service's port to job-service, over gRPC",
    "HttpConnection": "a connection of an HTTP server, with its bounds",
    "InputImage": "an image that a request brings",
    "Job": "a job, with the fields that the service needs",
    "JobService": "port to job-service, with the calls that the service makes",
    "JobWarning": "something about a job that its user should know",
    "NatsFacts": "facts, published over JetStream",
    "OptionRule": "what a provider accepts as an option's value",
    "PageTokens": "tokens of pages, signed",
    "Pool": "a pool of database connections",
    "Refusal": "why a request cannot be served",
    "Route": "a provider and one of its models",
    "Settings": "settings of the service",
    "Settlement": "an open provider call of a final job, held by a worker",
    "StagedImage": "an image in the staging area",
    "VendorError": "what a provider's API said about an error",
    "Violation": "a field of a request that is not valid",
    "WakeUps": "receiver of wake-ups: the port, and what provides it",
    "WorkerReport": "what a worker reports of calls and images",
}


def test_a_class_name_stands_for_one_idea() -> None:
    modules = defaultdict[str, list[str]](list)
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and "_pb2" not in path.name:
                    modules[node.name].append(path.relative_to(ROOT).as_posix())
    several = {name: paths for name, paths in modules.items() if len(paths) > 1}

    assert {name: paths for name, paths in several.items() if name not in SHARED} == {}
    assert SHARED.keys() - several.keys() == set()
