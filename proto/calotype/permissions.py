"""What each method asks of its caller: a role, and for jobs the right to speak for their tenant.

Part of the contract, beside the `.proto` files: a method that is not listed is for nobody.
"""

from collections.abc import Collection, Mapping

from google.protobuf.message import Message

#: Submits jobs and reads them, for the tenants that it may name.
CLIENT = "client"
#: Claims jobs, buys pictures and stages them.
GENERATOR = "generator"
#: Claims uploads: the only one that publishes pictures.
UPLOADER = "uploader"
#: Reports final events of jobs to webhooks: reads those, and nothing else.
NOTIFIER = "notifier"
#: Runs the installation.
OPERATOR = "operator"
ROLES = (CLIENT, GENERATOR, UPLOADER, NOTIFIER, OPERATOR)
#: Roles of the version before, and what they stand for until the next one.
OLD_ROLES: Mapping[str, Collection[str]] = {"worker": (GENERATOR, UPLOADER)}
#: Names of roles that an identity may have.
ACCEPTED = (*ROLES, *OLD_ROLES)
_WORKERS = frozenset({GENERATOR, UPLOADER})
_ANY = None

#: By service and method: the role that it needs, the roles of which one will do, or that any identity will.
NEEDED: Mapping[str, Mapping[str, str | Collection[str] | None]] = {
    "calotype.job.v1.JobService": {
        "CreateJob": CLIENT,
        "GetJob": CLIENT,
        "ListJobs": CLIENT,
        "CancelJob": CLIENT,
        "RetryJob": CLIENT,
        "DeleteJob": CLIENT,
        "ListAttempts": CLIENT,
        "ListProviders": CLIENT,
        "ListFinalEvents": frozenset({CLIENT, NOTIFIER}),
        "GetFinalEvents": NOTIFIER,
        "TakeRequest": CLIENT,
        "WatchJob": CLIENT,
    },
    "calotype.job.v1.WorkerService": {
        "RegisterProviders": GENERATOR,
        "ClaimJobs": GENERATOR,
        "ClaimUploads": UPLOADER,
        "ClaimSettlements": GENERATOR,
        "PostponeSettlement": GENERATOR,
        "ClaimDeletions": _WORKERS,
        "ClaimSweep": _WORKERS,
        "ReportSweep": _WORKERS,
        "GetJobInput": GENERATOR,
        "BeginProviderCall": GENERATOR,
        "RecordOperation": GENERATOR,
        "RenewLeases": _WORKERS,
        "ReleaseJob": _WORKERS,
    },
    "calotype.notifier.v1.WebhookService": {
        "CreateWebhook": CLIENT,
        "GetWebhook": CLIENT,
        "ListWebhooks": CLIENT,
        "UpdateWebhook": CLIENT,
        "DeleteWebhook": CLIENT,
        "RotateSecret": CLIENT,
        "GetSigningSecret": CLIENT,
        "TestWebhook": CLIENT,
        "ListDeliveries": CLIENT,
        "GetDelivery": CLIENT,
        "Redeliver": CLIENT,
        "RedeliverRange": CLIENT,
        "DeleteTenant": OPERATOR,
    },
    "calotype.ops.v1.OperationsService": {"GetStatus": _ANY, "Drain": OPERATOR, "SetLogLevel": OPERATOR},
    "calotype.ops.v1.DeadLetterService": {"ListDeadLetters": OPERATOR, "ReplayDeadLetter": OPERATOR},
    "calotype.ops.v1.QueueService": {"GetQueue": OPERATOR, "ListProviderUse": OPERATOR, "GetAnyJob": OPERATOR},
    "calotype.ops.v1.TenantService": {"SetTenantLimits": OPERATOR, "ListSpend": OPERATOR},
}
#: Who may delete and compare the objects of a bucket: who owns it. One that is not named counts as staging.
_OWNERS = {"BUCKET_UNSPECIFIED": GENERATOR, "BUCKET_STAGING": GENERATOR, "BUCKET_PUBLIC": UPLOADER}
#: Answers with jobs of all tenants, and so is for those alone who may name them all.
_OF_EVERY_TENANT = frozenset(
    {"/calotype.job.v1.JobService/ListFinalEvents", "/calotype.job.v1.JobService/GetFinalEvents"}
)


#: What the name of a method begins with that changes nothing.
_LOOKS = ("Get", "List", "Watch", "Take")


def changes(method: str) -> bool:
    """Whether a call of `/package.Service/Method` is told to the audit: clients or operators change something."""
    service, _, name = method.removeprefix("/").partition("/")
    needed = NEEDED.get(service, {}).get(name) or ()
    roles = {needed} if isinstance(needed, str) else set(needed)
    return bool(roles & {CLIENT, OPERATOR}) and not name.startswith(_LOOKS)


def policy(
    method: str, request: Message | None, *, roles: Collection[str], tenants: Collection[str] | None
) -> str | None:
    """Why a caller with these roles and tenants (None: every one) may not ask this of `/package.Service/Method`.

    Without a request: what keeps the caller from this method, whatever the request says.
    """
    roles = {role for known in roles for role in OLD_ROLES.get(known, (known,))}
    service, _, name = method.removeprefix("/").partition("/")
    methods = NEEDED.get(service, {})
    if name not in methods:
        return "no rule says who may call it."
    needed = methods[name]
    if needed is not None:
        enough = (needed,) if isinstance(needed, str) else sorted(needed)
        if not any(role in roles for role in enough):
            return f"the role {' or '.join(enough)} is needed."
    if request is not None and "bucket" in request.DESCRIPTOR.fields_by_name and not _owns(request, roles):
        return "the bucket is another role's."
    if tenants is None:
        return None
    if method in _OF_EVERY_TENANT:
        return "it tells of every tenant, and its tenants are a few."
    if request is None:
        return None
    # An operator's method is for all tenants, whatever tenants its caller acts for as a client.
    if needed != OPERATOR and _names_another(request, tenants):
        return "the tenant is none of its tenants."
    return None


def _names_another(request: Message, tenants: Collection[str]) -> bool:
    """Whether it names a tenant that is none of these; one that may be left out is named by whoever sets it."""
    named = request.DESCRIPTOR.fields_by_name.get("tenant")
    if named is None or (named.has_presence and not request.HasField("tenant")):
        return False
    return getattr(request, "tenant") not in tenants  # noqa: B009 - not each request has it


def _owns(request: Message, roles: Collection[str]) -> bool:
    buckets = request.DESCRIPTOR.fields_by_name["bucket"].enum_type
    assert buckets is not None
    named = buckets.values_by_number.get(getattr(request, "bucket"))  # noqa: B009 - not each request has it
    return named is not None and _OWNERS.get(named.name) in roles
