"""Converts a validated request body to protobuf."""

from calotype.job.v1 import job_pb2

from gateway.schemas.requests import CreateJob, InputImage


def job_request(body: CreateJob) -> job_pb2.JobRequest:
    """Returns the job request; fields that the client left out stay unset."""
    request = job_pb2.JobRequest(
        prompt=body.prompt,
        negative_prompt=body.negative_prompt,
        provider=body.provider,
        model=body.model,
        fallback=body.fallback,
        n=body.n,
        size=body.size,
        aspect_ratio=body.aspect_ratio,
        seed=body.seed,
        quality=body.quality,
        output_format=body.output_format,
        background=body.background,
        output_compression=body.output_compression,
        moderation=body.moderation,
        input_fidelity=body.input_fidelity,
        input_images=[input_image(image) for image in body.input_images],
        mask=None if body.mask is None else input_image(body.mask),
        priority=job_pb2.Priority.Value(f"PRIORITY_{body.priority.upper()}"),
        start_within_seconds=body.start_within_seconds,
        finish_within_seconds=body.finish_within_seconds,
        on_ambiguous=on_ambiguous(body.on_ambiguous),
        fallback_on_refusal=body.fallback_on_refusal,
        callback_url=body.callback_url,
        end_user=body.end_user,
        metadata=body.metadata,
    )
    if body.provider_options:
        request.provider_options.update(body.provider_options)
    return request


def on_ambiguous(choice: str) -> job_pb2.OnAmbiguous.ValueType:
    """Returns the enum value for `fail` or `retry`."""
    return job_pb2.OnAmbiguous.Value(f"ON_AMBIGUOUS_{choice.upper()}")


def input_image(image: InputImage) -> job_pb2.InputImage:
    """Returns an input image; a media type that the client left out is empty."""
    message = job_pb2.InputImage(content_type=image.content_type or "")
    if image.url is not None:
        message.url = image.url
    if image.data is not None:
        message.data = image.data
    return message
