"""A backend that makes images for its own users through job-service, over gRPC.

Run it with `uvicorn backend:app`. It reads JOB_ADDRESS (`host:port`), GRPC_TOKEN and TENANT.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from calotype.client import AsyncJobClient, CalotypeError, NotFound, Unavailable
from calotype.job.v1 import job_pb2
from fastapi import Depends, FastAPI, Header, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field


class ImageRequest(BaseModel):
    """What a user of the backend sends."""

    prompt: str = Field(min_length=1, max_length=1_000)
    """What to draw."""
    order: str = Field(pattern=r"^[a-z0-9-]{1,64}$")
    """The backend's own number: the same order is one job, however often it is sent."""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Opens one client for all requests."""
    address, token, tenant = (os.environ[name] for name in ("JOB_ADDRESS", "GRPC_TOKEN", "TENANT"))
    async with AsyncJobClient(address, tenant=tenant, token=token) as app.state.jobs:
        yield


app = FastAPI(lifespan=lifespan)


def client_of(request: Request) -> AsyncJobClient:
    """Returns the client."""
    jobs: AsyncJobClient = request.app.state.jobs
    return jobs


Jobs = Annotated[AsyncJobClient, Depends(client_of)]


@app.post("/orders", status_code=202)
async def order(body: ImageRequest, jobs: Jobs, accept_language: Annotated[str, Header()] = "en") -> dict[str, Any]:
    """Creates the job of an order and returns at once."""
    request = job_pb2.JobRequest(prompt=body.prompt, metadata={"order": body.order, "language": accept_language[:100]})
    return view(await jobs.create(request, idempotency_key=f"order-{body.order}"))


@app.get("/orders/{job_id}")
async def result(job_id: str, jobs: Jobs) -> dict[str, Any]:
    """Returns the job as it is now."""
    return view(await jobs.get(job_id))


@app.delete("/orders/{job_id}")
async def cancel(job_id: str, jobs: Jobs) -> dict[str, Any]:
    """Cancels the job."""
    return view(await jobs.cancel(job_id))


@app.exception_handler(CalotypeError)
async def failed(_: Request, error: Exception) -> JSONResponse:
    """Maps the client's exceptions to statuses."""
    status = 404 if isinstance(error, NotFound) else 503 if isinstance(error, Unavailable) else 400
    return JSONResponse({"detail": str(error)}, status_code=status)


def view(job: job_pb2.Job) -> dict[str, Any]:
    """What the backend's users see of a job."""
    status = job_pb2.Status.Name(job.status).removeprefix("STATUS_").lower()
    return {
        "id": job.id,
        "status": status,
        "images": [artifact.url for artifact in job.artifacts],
        "reason": job.failure.message or None,
    }
