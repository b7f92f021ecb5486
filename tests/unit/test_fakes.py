"""Fakes of services stand for all of what they are asked: a method that nobody plays is one that nobody tests."""

import inspect
import re
from types import ModuleType
from typing import Any

import pytest
from calotype.job.v1 import job_service_pb2, worker_service_pb2
from google.protobuf.descriptor import ServiceDescriptor

from services.generator.adapters import grpc_desk as generators
from services.uploader.adapters import grpc_desk as uploaders
from tests.support import generating, uploads
from tests.support.fake_job_service import FakeJobService

JOBS = job_service_pb2.DESCRIPTOR.services_by_name["JobService"]
WORK = worker_service_pb2.DESCRIPTOR.services_by_name["WorkerService"]


def methods_of(service: ServiceDescriptor) -> set[str]:
    """What the contract says."""
    return {method.name for method in service.methods}


def played_by(*fakes: type[Any]) -> set[str]:
    """What fakes answer themselves; the generated base refuses the rest."""
    return {name for fake in fakes for name in vars(fake) if name[0].isupper()}


@pytest.mark.parametrize(
    ("service", "fakes"),
    [(JOBS, [FakeJobService]), (WORK, [generating.FakeWorkerService, uploads.FakeWorkerService])],
    ids=lambda one: one.name if isinstance(one, ServiceDescriptor) else "",
)
def test_every_method_of_a_service_is_played(service: ServiceDescriptor, fakes: list[type[Any]]) -> None:
    assert played_by(*fakes) == methods_of(service)


@pytest.mark.parametrize(
    ("desk", "fake"),
    [(generators, generating.FakeWorkerService), (uploaders, uploads.FakeWorkerService)],
    ids=["generator", "uploader"],
)
def test_a_fake_answers_exactly_what_its_worker_asks(desk: ModuleType, fake: type[Any]) -> None:
    asked = set(re.findall(r"\b_stub\.(\w+)", inspect.getsource(desk)))

    assert asked == played_by(fake)
