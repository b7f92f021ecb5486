"""`/v1/admin/jobs`: lists of jobs of all tenants, for operators."""

from calotype.error.v1 import error_pb2
from calotype.job.v1 import job_pb2
from calotype.ops.v1 import job_admin_service_pb2
from fastapi import APIRouter, Request, Response

from gateway.api_docs import openapi
from gateway.dependencies import DependenciesOf, OperatorOf, json_response
from gateway.requests import queries
from gateway.schemas.admin_jobs import AnyJobPage, JobFilters, ListAnyJobs, TenantJobView

router = APIRouter(prefix="/v1/admin", tags=["admin"])


@router.get(
    "/jobs",
    operation_id="listAnyJobs",
    summary="List jobs of all tenants, newest first",
    description="Returns a page of jobs that match every filter. One call examines 1,000 jobs at most: a page may be "
    "shorter than `page_size`, even empty, before the last one; continue while there is a `next_page_token`.",
    response_model=AnyJobPage,
    responses={200: openapi.success("A page of jobs with their tenants."), **openapi.problems(422)},
    openapi_extra={"parameters": openapi.query_parameters(ListAnyJobs)},
)
async def list_any_jobs(request: Request, deps: DependenciesOf, operator: OperatorOf) -> Response:
    """Returns a page of jobs of all tenants; new jobs do not shift the pages that follow."""
    query = queries.check(ListAnyJobs, request, repeated=("status",))
    page = await deps.operator.any_jobs(job_filter(query), page_size=query.page_size, page_token=query.page_token)
    render = deps.renderer(request, operator)
    view = AnyJobPage(
        jobs=[TenantJobView(tenant=found.tenant, job=render.job(found.job)) for found in page.jobs],
        next_page_token=page.next_page_token or None,
    )
    return json_response(view)


def job_filter(filters: JobFilters) -> job_admin_service_pb2.JobFilter:
    """Returns the filters as a message."""
    message = job_admin_service_pb2.JobFilter(
        tenant=filters.tenant,
        statuses=[job_pb2.Status.Value(f"STATUS_{status.upper()}") for status in filters.status],
        job_id=filters.id,
        operation_id=filters.operation_id,
        end_user=filters.end_user,
        reason=filters.reason,
        code=error_pb2.Code.Value(f"CODE_{filters.code or 'UNSPECIFIED'}"),
        provider=filters.provider,
    )
    for name in ("created_after", "created_before"):
        if (time := getattr(filters, name)) is not None:
            getattr(message, name).FromDatetime(time)
    return message
