"""A pod that is stopped has the time that its work needs, derived from the limits in the code."""

import inspect

import pytest

from cli.stack import detached
from cli.stack.commands import up
from common import grpc_server
from gateway.http import server
from services.generator import settings as generator_settings
from services.job.domain.timeouts import StageTimeouts
from services.notifier.loops import sending
from services.uploader import settings as uploader_settings
from tests.support.deploy.manifests import containers, environment, named, pod

#: Seconds in which a process ends its background tasks and connections after its work.
REST = 10
#: Seconds to check and stage what a provider returned at its last moment, or to publish what was copied.
RESULT = 30


def hook_seconds(name: str) -> int:
    [container] = containers(named("Deployment", name))
    return int(container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0))


def work_seconds(name: str) -> float:
    """Longest time that work under way takes at the moment of SIGTERM."""
    if name == "generator":
        [container] = containers(named("Deployment", name))
        return float(environment(container)["CALOTYPE_MAX_GENERATING_SECONDS"]) + RESULT
    return {
        "uploader": StageTimeouts().max_uploading_seconds + RESULT,
        "notifier": sending.SEND_SECONDS,
        "gateway": server.DRAIN_SECONDS,
        # Two servers, one after the other.
        "job": 2 * inspect.signature(grpc_server.serve).parameters["grace_seconds"].default,
    }[name]


@pytest.mark.parametrize("name", ["gateway", "job", "generator", "uploader", "notifier"])
def test_work_under_way_ends_before_the_pod_is_killed(name: str) -> None:
    deployment = named("Deployment", name)
    [container] = containers(deployment)
    grace = float(environment(container).get("CALOTYPE_GRACE_SECONDS", work_seconds(name)))

    assert grace >= work_seconds(name)
    assert pod(deployment)["terminationGracePeriodSeconds"] >= hook_seconds(name) + grace + REST


def test_without_a_setting_a_worker_waits_as_long() -> None:
    longest = generator_settings.Settings.max_generating_seconds

    assert generator_settings.Settings.grace_seconds >= longest + RESULT
    assert uploader_settings.Settings.grace_seconds >= work_seconds("uploader")


def test_the_stack_of_one_machine_gives_its_workers_that_time() -> None:
    [option] = (option for option in up.params if option.name == "grace_seconds")

    assert option.default >= generator_settings.Settings.grace_seconds + REST
    assert option.default + server.DRAIN_SECONDS + REST <= detached.STOP_SECONDS


def test_only_what_clients_connect_to_from_outside_waits_to_be_removed_first() -> None:
    assert {name for name in ("gateway", "job", "generator", "uploader", "notifier") if hook_seconds(name)} == {
        "gateway"
    }
