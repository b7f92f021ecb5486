"""Requests of clients."""

import hashlib
from typing import Any

from calotype.job.v1 import job_pb2, job_service_pb2
from calotype.size_limits import MAX_OPTIONS_BYTES
from google.protobuf import json_format

from services.job.domain.quotas import Quota
from services.job.domain.requests import InputImage, JobRequest, OnAmbiguous, Priority
from services.job.messages.enums import PRIORITY_IN, member
from services.job.messages.from_protobuf.values import invalid, optional
from services.job.store.inputs import MASK


def request(message: job_pb2.JobRequest) -> JobRequest:
    """Returns a job's request, with digests of input images that were sent as bytes.

    Raises `Refusal` INVALID_INPUT for provider options that cannot be read; the domain checks everything else.
    """
    on_ambiguous = member(OnAmbiguous, job_pb2.OnAmbiguous, "ON_AMBIGUOUS", message.on_ambiguous)
    return JobRequest(
        prompt=message.prompt,
        negative_prompt=optional(message, "negative_prompt"),
        provider=optional(message, "provider"),
        model=optional(message, "model"),
        fallback=tuple(message.fallback),
        n=message.n or 1,
        size=optional(message, "size"),
        aspect_ratio=optional(message, "aspect_ratio"),
        seed=optional(message, "seed"),
        quality=optional(message, "quality"),
        output_format=optional(message, "output_format"),
        background=optional(message, "background"),
        output_compression=optional(message, "output_compression"),
        moderation=optional(message, "moderation"),
        input_fidelity=optional(message, "input_fidelity"),
        input_images=tuple(input_image(image) for image in message.input_images),
        mask=input_image(message.mask) if message.HasField("mask") else None,
        provider_options=_options(message) if message.HasField("provider_options") else {},
        priority=PRIORITY_IN.get(message.priority, Priority.NORMAL),
        start_within_seconds=optional(message, "start_within_seconds"),
        finish_within_seconds=optional(message, "finish_within_seconds"),
        on_ambiguous=on_ambiguous or OnAmbiguous.FAIL,
        fallback_on_refusal=message.fallback_on_refusal,
        callback_url=optional(message, "callback_url"),
        end_user=optional(message, "end_user"),
        metadata=dict(message.metadata),
    )


def _options(message: job_pb2.JobRequest) -> dict[str, Any]:
    # In protobuf a value takes at most four times its size as JSON: a larger one is refused without conversion.
    if message.provider_options.ByteSize() > 4 * MAX_OPTIONS_BYTES:
        raise invalid("provider_options", f"At most {MAX_OPTIONS_BYTES:,} bytes.")
    try:
        options: dict[str, Any] = json_format.MessageToDict(message.provider_options)
    except ValueError as error:
        raise invalid("provider_options", "Contains a number that is not finite.") from error
    return options


def input_image(message: job_pb2.InputImage) -> InputImage:
    """Returns an input image as it is stored: its URL, or the digest and size of its bytes."""
    if message.WhichOneof("source") == "url":
        return InputImage(url=message.url, content_type=message.content_type)
    return InputImage(
        content_type=message.content_type,
        sha256=hashlib.sha256(message.data).hexdigest(),
        size_bytes=len(message.data),
    )


def input_bytes(message: job_pb2.JobRequest) -> dict[int, bytes]:
    """Returns the input images that were sent as bytes, by index; -1 is the mask."""
    images = [*enumerate(message.input_images), *([(MASK, message.mask)] if message.HasField("mask") else [])]
    return {index: image.data for index, image in images if image.WhichOneof("source") == "data"}


def quota(
    message: job_service_pb2.CreateJobRequest | job_service_pb2.CreateJobsRequest | job_service_pb2.RetryJobRequest,
) -> Quota | None:
    """Returns the tenant's quota; None when the caller sends none."""
    if not message.HasField("quota"):
        return None
    limits = {field.name: max(value, 0) for field, value in message.quota.ListFields()}
    return Quota(**limits)
