"""Access policy of each gRPC method: the role that it requires, and the tenants for which the caller may act.

Part of the contract, like the `.proto` files: a call of a method that is not listed is refused.
"""

from collections.abc import Collection, Mapping

from google.protobuf.message import Message

#: Submits jobs and reads them, for the tenants that it may name.
CLIENT = "client"
#: Claims jobs, calls providers and stages images.
GENERATOR = "generator"
#: Claims uploads; the only role that publishes images.
UPLOADER = "uploader"
#: Reads final events of jobs, which it delivers to webhooks; may call nothing else.
NOTIFIER = "notifier"
#: Operates the installation.
OPERATOR = "operator"
ROLES = (CLIENT, GENERATOR, UPLOADER, NOTIFIER, OPERATOR)
#: Roles of the previous version, and the roles that they stand for until the next version.
OLD_ROLES: Mapping[str, Collection[str]] = {"worker": (GENERATOR, UPLOADER)}
#: Names of roles that an identity may have.
ACCEPTED = (*ROLES, *OLD_ROLES)
_WORKERS = frozenset({GENERATOR, UPLOADER})
_ANY = None

#: By service and method: the required role, a set of roles of which one is enough, or None for any identity.
REQUIRED_ROLES: Mapping[str, Mapping[str, str | Collection[str] | None]] = {
    "calotype.job.v1.JobService": {
        "CreateJob": CLIENT,
        "CreateJobs": CLIENT,
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
        "ListUnhealthyWebhooks": OPERATOR,
        "DeleteTenant": OPERATOR,
    },
    "calotype.ops.v1.OperationsService": {"GetStatus": _ANY, "Drain": OPERATOR, "SetLogLevel": OPERATOR},
    "calotype.ops.v1.DeadLetterService": {"ListDeadLetters": OPERATOR, "ReplayDeadLetter": OPERATOR},
    "calotype.ops.v1.QueueService": {
        "GetQueue": OPERATOR,
        "GetThroughput": OPERATOR,
        "ListProviderUse": OPERATOR,
        "GetAnyJob": OPERATOR,
    },
    "calotype.ops.v1.JobAdminService": {
        "ListAnyJobs": OPERATOR,
        "Pause": OPERATOR,
        "Resume": OPERATOR,
        "ListPauses": OPERATOR,
    },
    "calotype.ops.v1.BulkActionService": {
        "PreviewBulkAction": OPERATOR,
        "CreateBulkAction": OPERATOR,
        "GetBulkAction": OPERATOR,
        "ListBulkActions": OPERATOR,
        "CancelBulkAction": OPERATOR,
    },
    "calotype.ops.v1.TenantService": {"SetTenantLimits": OPERATOR, "ListSpend": OPERATOR},
}
#: The role that may delete and compare the objects of a bucket. An unspecified bucket means staging.
_OWNERS = {"BUCKET_UNSPECIFIED": GENERATOR, "BUCKET_STAGING": GENERATOR, "BUCKET_PUBLIC": UPLOADER}
#: Methods that return jobs of all tenants, for callers that may act for all of them.
_ALL_TENANTS = frozenset({"/calotype.job.v1.JobService/ListFinalEvents", "/calotype.job.v1.JobService/GetFinalEvents"})


#: Prefixes of the names of methods that change nothing.
_READ_PREFIXES = ("Get", "List", "Watch", "Take", "Preview")
#: Methods that return a secret; the audit log records their calls, too.
_SECRETS = frozenset({"GetSigningSecret"})


def changes(method: str) -> bool:
    """Returns whether the audit log records each call of a method.

    It does if clients or operators change something with it, or get a secret.
    """
    service, _, name = method.removeprefix("/").partition("/")
    required = REQUIRED_ROLES.get(service, {}).get(name) or ()
    roles = {required} if isinstance(required, str) else set(required)
    return bool(roles & {CLIENT, OPERATOR}) and (name in _SECRETS or not name.startswith(_READ_PREFIXES))


def policy(
    method: str, request: Message | None, *, roles: Collection[str], tenants: Collection[str] | None
) -> str | None:
    """Returns why a caller may not make this call of `/package.Service/Method`, as text; None when it may.

    `tenants` None: the caller may act for every tenant. `request` None: only the method is checked.
    """
    roles = {role for known in roles for role in OLD_ROLES.get(known, (known,))}
    service, _, name = method.removeprefix("/").partition("/")
    methods = REQUIRED_ROLES.get(service, {})
    if name not in methods:
        return "the method has no access rule."
    required = methods[name]
    if required is not None:
        sufficient = (required,) if isinstance(required, str) else sorted(required)
        if not any(role in roles for role in sufficient):
            return f"the role {' or '.join(sufficient)} is required."
    if request is not None and "bucket" in request.DESCRIPTOR.fields_by_name and not _owns(request, roles):
        return "the bucket belongs to another role."
    if tenants is None:
        return None
    if method in _ALL_TENANTS:
        return "the method returns jobs of every tenant, and the caller may act for some tenants only."
    if request is None:
        return None
    # An operator's method is for all tenants, whatever tenants its caller acts for as a client.
    if required != OPERATOR and _names_another(request, tenants):
        return "the caller may not act for this tenant."
    return None


def _names_another(request: Message, tenants: Collection[str]) -> bool:
    """Returns whether the request names another tenant; an optional field counts once it is set, even to ""."""
    named = request.DESCRIPTOR.fields_by_name.get("tenant")
    if named is None or (named.has_presence and not request.HasField("tenant")):
        return False
    return getattr(request, "tenant") not in tenants  # noqa: B009 - not each request has it


def _owns(request: Message, roles: Collection[str]) -> bool:
    buckets = request.DESCRIPTOR.fields_by_name["bucket"].enum_type
    assert buckets is not None
    named = buckets.values_by_number.get(getattr(request, "bucket"))  # noqa: B009 - not each request has it
    return named is not None and _OWNERS.get(named.name) in roles
