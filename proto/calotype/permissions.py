"""What each method asks of its caller: a role, and for jobs the right to speak for their tenant.

Part of the contract, beside the `.proto` files: a method that is not listed is for nobody.
"""

from collections.abc import Collection, Mapping

from google.protobuf.message import Message

#: Submits jobs and reads them, for the tenants that it may name.
CLIENT = "client"
#: Claims jobs and does them.
WORKER = "worker"
#: Runs the installation.
OPERATOR = "operator"
ROLES = (CLIENT, WORKER, OPERATOR)
_ANY = None

_NEEDED: Mapping[str, Mapping[str, str | None]] = {
    "calotype.job.v1.JobService": {
        "CreateJob": CLIENT,
        "GetJob": CLIENT,
        "ListJobs": CLIENT,
        "CancelJob": CLIENT,
        "RetryJob": CLIENT,
        "DeleteJob": CLIENT,
        "ListAttempts": CLIENT,
        "ListProviders": CLIENT,
        "ListFinalEvents": CLIENT,
        "TakeRequest": CLIENT,
        "WatchJob": CLIENT,
    },
    "calotype.job.v1.WorkerService": {
        "RegisterProviders": WORKER,
        "ClaimJobs": WORKER,
        "ClaimUploads": WORKER,
        "ClaimSettlements": WORKER,
        "PostponeSettlement": WORKER,
        "ClaimDeletions": WORKER,
        "ClaimSweep": WORKER,
        "ReportSweep": WORKER,
        "GetJobInput": WORKER,
        "BeginProviderCall": WORKER,
        "RecordOperation": WORKER,
        "RenewLeases": WORKER,
        "ReleaseJob": WORKER,
    },
    "calotype.ops.v1.OperationsService": {"GetStatus": _ANY, "Drain": OPERATOR, "SetLogLevel": OPERATOR},
    "calotype.ops.v1.DeadLetterService": {"ListDeadLetters": OPERATOR, "ReplayDeadLetter": OPERATOR},
    "calotype.ops.v1.QueueService": {"GetQueue": OPERATOR, "ListProviderUse": OPERATOR},
}
#: Answers with jobs of all tenants, and so is for those alone who may name them all.
_OF_EVERY_TENANT = frozenset({"/calotype.job.v1.JobService/ListFinalEvents"})


def objection(
    method: str, request: Message | None, *, roles: Collection[str], tenants: Collection[str] | None
) -> str | None:
    """Why a caller with these roles and tenants (None: every one) may not ask this of `/package.Service/Method`.

    Without a request: what keeps the caller from this method, whatever the request says.
    """
    service, _, name = method.removeprefix("/").partition("/")
    methods = _NEEDED.get(service, {})
    if name not in methods:
        return "no rule says who may call it."
    needed = methods[name]
    if needed is not None and needed not in roles:
        return f"the role {needed} is needed."
    if tenants is None:
        return None
    if method in _OF_EVERY_TENANT:
        return "it tells of every tenant, and its tenants are a few."
    if request is None:
        return None
    if "tenant" in request.DESCRIPTOR.fields_by_name and getattr(request, "tenant") not in tenants:  # noqa: B009
        return "the tenant is none of its tenants."
    return None
