"""A node: starts the pods of workloads in the order of an installation, and ends them."""

import time
from collections.abc import Mapping, Sequence

from tests.support.kubelet.pods import Cluster, ContainerFailed, Pod


class Node:
    """Runs all pods of a cluster; workloads whose image it does not know stay out (`outside`)."""

    def __init__(self, cluster: Cluster, *, outside: Sequence[str] = ()) -> None:
        self._cluster = cluster
        self._pods: dict[str, list[Pod]] = {}
        self._jobs: dict[str, tuple[Pod, int]] = {}
        self._running: list[Pod] = []
        for workload in cluster.objects.workloads():
            name, spec = workload["metadata"]["name"], workload["spec"]["template"]["spec"]
            if name in outside:
                continue
            pods = [Pod(pod, spec, cluster) for pod in cluster.objects.pods(name)]
            if workload["kind"] == "Job":
                self._jobs[name] = pods[0], workload["spec"].get("backoffLimit", 6)
            else:
                self._pods[name] = pods

    @property
    def workloads(self) -> list[str]:
        """Names of what runs until it is stopped."""
        return [*self._pods]

    def start(self, *names: str) -> None:
        """Starts the pods of these workloads, and waits until all are ready. Raises `ContainerFailed`."""
        self.launch(*names)
        self.wait_ready(*names)

    def launch(self, *names: str) -> None:
        """Starts the pods of these workloads, as after their apply. Raises `ContainerFailed`."""
        for pod in (pod for name in names for pod in self._pods[name]):
            self._running.append(pod)
            pod.start()

    def wait_ready(self, *names: str) -> None:
        """Waits until the pods of these workloads, which were launched, are ready. Raises `ContainerFailed`."""
        for pod in (pod for name in names for pod in self._pods[name]):
            pod.wait_ready()

    def complete_jobs(self) -> None:
        """Runs the Kubernetes Jobs, each until it succeeds. Raises `ContainerFailed` beyond its limit of failures."""
        for name, (pod, limit) in self._jobs.items():
            for failures in range(limit + 1):
                pod.start()
                if pod.exit_status(wait=True) == 0:
                    break
                if failures == limit:
                    raise ContainerFailed(f"Job {name} has failed {limit + 1} times")
                time.sleep(1.0)

    def run_from(self, cron_job: str) -> str:
        """Runs a Job that is created from a CronJob; returns its log. Raises `ContainerFailed` where it fails."""
        template = self._cluster.objects.named("CronJob", cron_job)["spec"]["jobTemplate"]["spec"]["template"]
        pod = Pod(f"{cron_job}-0", template["spec"], self._cluster)
        pod.start()
        status = pod.exit_status(wait=True)
        pod.wait_stopped(0.0)
        if status:
            raise ContainerFailed(f"Job {cron_job} ended with {status}: {pod.log()}")
        return pod.log()

    def stop(self, *names: str) -> Mapping[str, int | None]:
        """Stops the pods of these workloads at once, as kubelet does; returns exit codes by pod, None of a killed one.

        Raises `ContainerFailed` where a container has ended before.
        """
        pods, began = [pod for name in names for pod in self._pods[name]], time.monotonic()
        for pod in sorted(pods, key=lambda one: one.hook_seconds):
            time.sleep(max(0.0, began + pod.hook_seconds - time.monotonic()))
            pod.request_stop()
        found: dict[str, int | None] = {}
        for pod in pods:
            codes = pod.wait_stopped(began + pod.grace_seconds - time.monotonic()).values()
            found[pod.name] = None if None in codes else max(codes, key=lambda one: abs(one or 0))
            self._running.remove(pod)
        return found

    def kill(self) -> None:
        """Ends whatever still runs."""
        for pod in self._running:
            pod.wait_stopped(0.0)
        self._running.clear()
