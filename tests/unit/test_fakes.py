"""Every fake of one of the project's own parts, and what keeps it from having rules of its own."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from calotype.job.v1 import job_service_pb2, worker_service_pb2
from calotype.notifier.v1 import webhook_service_pb2

from services.generator.adapters import grpc_job_service as generators
from services.uploader.adapters import grpc_job_service as uploaders
from tests.support.job_service.fake_job_service import FakeJobService
from tests.support.notifier.fake_webhook_service import FakeWebhookService

TESTS = Path(__file__).parents[1]
#: How a class that plays a part of the project, or of a vendor, is called, or what it stands in for.
NAMES = re.compile(
    r"^Fake|(Desk|UseCases|Service|Facts|Staging|Store|Bucket|Broker|Hints|Provider|Reader|Ledger|Books|Shop|Operator|Fetch)$"
)
BASES = re.compile(
    r"Servicer$|^Fake|^(Desk|LedgerJobService|Facts|Provider|Staging|Reader|WorkerService|JobService|JetStream)$"
)
#: Says what the test tells it to say, and decides nothing: there is nothing that could differ.
SCRIPTED = "scripted"
#: Plays no part of the project.
NOBODY = "nobody"
#: By module and class: the file of what it is checked against, or of whose rules it decides by; or a word of the above.
FAKES = {
    # job-service and its ledger
    "support/generator/memory_ledger.py MemoryLedger": "tests/integration/job/test_ledger_in_memory.py",
    "support/generator/fakes.py LedgerJobService": "tests/support/generator/memory_ledger.py",
    "support/job_service/use_cases.py JobUseCases": "services/job/application/provider_calls.py",
    "support/job_service/watched_worker_service.py WatchedWorkerService": "services/job/grpc_api/worker_service.py",
    "support/notifier/scripted_store.py ScriptedJobService": SCRIPTED,
    "support/gateway/fake_gateway.py FakeGateway": SCRIPTED,
    "unit/deploy/test_google_cloud.py FakeGcloud": SCRIPTED,
    "support/job_service/fake_job_service.py FakeJobService": "proto/calotype/job/v1/job_service.proto",
    "support/notifier/fake_webhook_service.py FakeWebhookService": "proto/calotype/notifier/v1/webhook_service.proto",
    "support/servers/otlp_metrics.py MetricCollector": SCRIPTED,
    "unit/client/test_both_clients.py Service": "tests/support/job_service/fake_job_service.py",
    "unit/client/test_documentation.py Painter": "tests/support/job_service/fake_job_service.py",
    "unit/client/test_sync.py Service": SCRIPTED,
    "support/gateway/job_operator.py JobOperator": SCRIPTED,
    "unit/gateway/test_admin.py Operator": SCRIPTED,
    "unit/gateway/test_tenants.py Operator": SCRIPTED,
    "unit/common/test_leased_work.py Desk": SCRIPTED,
    "unit/common/test_leased_work.py FakeHints": SCRIPTED,
    "unit/common/test_sweeping.py Desk": SCRIPTED,
    "unit/services/uploader/test_application.py FakeDesk": SCRIPTED,
    "integration/uploader/test_upload.py Desk": SCRIPTED,
    "integration/gateway/test_process.py TenantService": SCRIPTED,
    "integration/generator/test_desk.py WorkerService": SCRIPTED,
    "integration/common/test_grpc.py Service": SCRIPTED,
    "integration/common/test_grpc_access.py Service": SCRIPTED,
    "integration/common/test_grpc_spans.py Service": SCRIPTED,
    "integration/test_permissions.py Service": SCRIPTED,
    "integration/job/test_rescuing.py FakeBroker": SCRIPTED,
    "support/brokers/recording_broker.py RecordingJetStream": SCRIPTED,
    "chaos/facts.py Facts": NOBODY,
    # what workers tell, and where they put pictures
    "support/generator/fakes.py Facts": SCRIPTED,
    "integration/generator/test_live_progress.py HeardFacts": SCRIPTED,
    "integration/uploader/test_upload.py Facts": SCRIPTED,
    "unit/services/uploader/test_application.py FakeFacts": SCRIPTED,
    "unit/services/generator/application/test_publishing.py Broker": SCRIPTED,
    "unit/services/generator/application/test_publishing.py DistantFacts": SCRIPTED,
    "support/generator/fakes.py Staging": "tests/integration/generator/test_staging.py",
    "support/generator/crashing_generator.py WatchedStaging": "tests/support/generator/fakes.py",
    "unit/services/uploader/test_application.py FakeStore": "tests/integration/uploader/test_upload.py",
    "integration/job/test_gone.py Bucket": "tests/integration/uploader/test_gone.py",
    "support/generator/fakes.py Reader": "tests/unit/services/generator/adapters/test_image_reader.py",
    "unit/services/generator/adapters/test_image_reader.py Fetch": SCRIPTED,
    # vendors: the adapters that ask them are held against recordings of the real ones
    "support/generator/fakes.py Provider": SCRIPTED,
    "support/generator/crashing_generator.py BookkeepingProvider": SCRIPTED,
    "support/providers/paid_provider.py Books": "tests/conformance/providers/goldens/replicate.yaml",
    "support/providers/paid_server.py Shop": "tests/conformance/providers/goldens/openai.yaml",
    "support/providers/provider_fixtures.py DescribedProvider": "services/generator/ports.py",
    "support/providers/faulty_provider.py FaultyProvider": SCRIPTED,
    "support/servers/failing_collector.py _Refuses": SCRIPTED,
    "support/servers/otlp_collector.py Collector": SCRIPTED,
    "unit/services/generator/application/test_generation.py Hanging": SCRIPTED,
    "unit/services/generator/application/test_generation.py Stalling": "tests/integration/generator/test_generation.py",
    "unit/services/generator/application/test_stopping.py DrawingProvider": SCRIPTED,
    "unit/services/generator/application/test_keeping.py Counting": "tests/support/generator/fakes.py",
    "unit/services/generator/application/test_memory.py FetchingReader": "tests/integration/generator/test_memory.py",
    "unit/services/generator/application/test_memory.py ReadingProvider": "tests/integration/generator/test_memory.py",
    "unit/services/generator/application/test_memory.py Listening": SCRIPTED,
    "unit/common/test_memory.py Reader": NOBODY,
    "unit/gateway/test_standings.py Reader": NOBODY,
    "integration/job/test_watching_in_any_order.py Reader": NOBODY,
}


def found() -> Iterator[str]:
    """Every class under `tests` that is called like a part of the project, or stands in for one."""
    for path in sorted(TESTS.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and (
                NAMES.search(node.name) or any(BASES.search(ast.unparse(base).split(".")[-1]) for base in node.bases)
            ):
                yield f"{path.relative_to(TESTS).as_posix()} {node.name}"


def test_it_is_known_of_every_fake_what_it_is_checked_against() -> None:
    assert sorted(set(found())) == sorted(FAKES)


@pytest.mark.parametrize("against", sorted({one for one in FAKES.values() if "/" in one}))
def test_what_fakes_are_checked_against_is_there(against: str) -> None:
    assert (TESTS.parent / against).is_file()


def test_every_method_of_job_service_is_played() -> None:
    played = {name for name in vars(FakeJobService) if name[0].isupper()}

    assert played == set(job_service_pb2.DESCRIPTOR.services_by_name["JobService"].methods_by_name)


def test_every_method_of_the_notifier_is_played() -> None:
    played = {name for name in vars(FakeWebhookService) if name[0].isupper()}

    assert played == set(webhook_service_pb2.DESCRIPTOR.services_by_name["WebhookService"].methods_by_name)


@pytest.mark.parametrize("desks", [(generators, uploaders)], ids=["both"])
def test_workers_ask_for_every_method_of_theirs(desks: tuple[ModuleType, ...]) -> None:
    asked: set[Any] = {name for desk in desks for name in re.findall(r"\b_stub\.(\w+)", inspect.getsource(desk))}

    assert asked == set(worker_service_pb2.DESCRIPTOR.services_by_name["WorkerService"].methods_by_name)
