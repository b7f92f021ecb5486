"""Converts requests in OpenAI's format to job requests."""

import hashlib
from dataclasses import dataclass
from typing import Any

from calotype.job.v1 import job_pb2
from calotype.size_limits import MAX_INPUT_BYTES, MAX_INPUT_BYTES_TOGETHER, MAX_INPUT_IMAGES

from gateway.openai_images.forms import File, Form
from gateway.openai_images.forms import parse as parse_form
from gateway.openai_images.image_references import EditParameters
from gateway.openai_images.schemas import FORM_KINDS, ImageParameters
from gateway.problems.problem import Problem, Violation, invalid
from gateway.requests import strict_json, to_protobuf, validation

#: Clients send one image as `image`, several as `image[]`.
_IMAGES = ("image", "image[]")
_FILES = (*_IMAGES, "mask")


@dataclass(frozen=True, kw_only=True)
class ImageRequest:
    """A request in OpenAI's format, converted."""

    job: job_pb2.JobRequest
    """The job to submit."""
    fingerprint: str
    """Hex SHA-256 of the path and everything that was sent; equal for a repeated request."""
    as_base64: bool
    """Whether the response holds the images in base64 instead of URLs."""
    as_stream: bool
    """Whether the response is a stream of events."""


def generation(raw: bytes, *, path: str) -> ImageRequest:
    """Returns the request in a JSON body. Raises `Problem`."""
    sent = strict_json.parse(raw)
    body = validation.check(ImageParameters, sent)
    return _image_request(body, [], None, path=path, digest=strict_json.fingerprint(sent))


def json_edit(raw: bytes, *, path: str) -> ImageRequest:
    """Returns the request in a JSON body with addresses of images. Raises `Problem`."""
    sent = strict_json.parse(raw)
    body = validation.check(EditParameters, sent)
    images = [to_protobuf.input_image(reference.image_url) for reference in body.images]
    mask = None if body.mask is None else to_protobuf.input_image(body.mask.image_url)
    return _image_request(body, images, mask, path=path, digest=strict_json.fingerprint(sent))


def edit(raw: bytes, *, path: str, content_type: str) -> ImageRequest:
    """Returns the request in a multipart form. Raises `Problem`."""
    form = parse_form(raw, content_type)
    strict_json.reject_unstorable(dict(form.texts))
    _check_files(form.files)
    body = validation.check(ImageParameters, _values(form.texts))
    images = [_input_image(file) for name in _IMAGES for file in form.files.get(name, ())]
    mask = next(map(_input_image, form.files.get("mask", ())), None)
    return _image_request(body, images, mask, path=path, digest=_digest(form))


def _image_request(
    body: ImageParameters,
    images: list[job_pb2.InputImage],
    mask: job_pb2.InputImage | None,
    *,
    path: str,
    digest: str,
) -> ImageRequest:
    if body.stream and body.response_format == "url":
        message = "A stream sends images as b64_json only. Leave response_format out or send b64_json."
        raise invalid([Violation(field="response_format", message=message)])
    return ImageRequest(
        job=_job(body, images, mask),
        # The path is included, so that equal bodies on two paths are different requests.
        fingerprint=hashlib.sha256(f"{path}\n{digest}".encode()).hexdigest(),
        as_base64=body.response_format == "b64_json",
        as_stream=bool(body.stream),
    )


def _job(
    body: ImageParameters, images: list[job_pb2.InputImage], mask: job_pb2.InputImage | None
) -> job_pb2.JobRequest:
    provider, _, model = (body.model or "").partition("/")
    job = job_pb2.JobRequest(
        prompt=body.prompt,
        negative_prompt=body.negative_prompt,
        provider=provider or None,
        model=model or None,
        n=body.n or 1,
        size=_unless_auto(body.size),
        aspect_ratio=body.aspect_ratio,
        seed=body.seed,
        quality=_unless_auto(body.quality),
        output_format=body.output_format,
        background=_unless_auto(body.background),
        output_compression=body.output_compression,
        moderation=_unless_auto(body.moderation),
        # `low` is the default.
        input_fidelity=body.input_fidelity if body.input_fidelity != "low" else None,
        input_images=images,
        mask=mask,
        end_user=body.safety_identifier or body.user,
    )
    if body.provider_options:
        job.provider_options.update(body.provider_options)
    return job


def _unless_auto(value: str | None) -> str | None:
    return None if value == "auto" else value


def _input_image(file: File) -> job_pb2.InputImage:
    # Clients that do not know the type send application/octet-stream; the generator detects it.
    stated = file.content_type if file.content_type.startswith("image/") else ""
    return job_pb2.InputImage(data=file.data, content_type=stated)


def _values(texts: dict[str, str]) -> dict[str, Any]:
    """Converts form texts to the values that JSON would have; keeps other texts, which then fail validation."""
    values: dict[str, Any] = {}
    for name, text in texts.items():
        try:
            values[name] = FORM_KINDS[name](text) if name in FORM_KINDS else text
        except (ValueError, KeyError, Problem):
            values[name] = text
    return values


def _check_files(files: dict[str, list[File]]) -> None:
    violations = [Violation(field=name[:100], message="Unknown file field.") for name in files if name not in _FILES]
    images = [file for name in _IMAGES for file in files.get(name, ())]
    if not 1 <= len(images) <= MAX_INPUT_IMAGES:
        violations.append(Violation(field="image", message=f"Send 1 to {MAX_INPUT_IMAGES} files."))
    if len(files.get("mask", ())) > 1:
        violations.append(Violation(field="mask", message="Send at most one file."))
    named_files = [(name, file) for name in _FILES for file in files.get(name, ())]
    for name, file in named_files:
        if not 1 <= len(file.data) <= MAX_INPUT_BYTES:
            violations.append(Violation(field=name, message=f"Each file must have 1 to {MAX_INPUT_BYTES:,} bytes."))
    if sum(len(file.data) for _, file in named_files) > MAX_INPUT_BYTES_TOGETHER:
        violations.append(
            Violation(
                field="image", message=f"All files together must have at most {MAX_INPUT_BYTES_TOGETHER:,} bytes."
            )
        )
    if violations:
        raise invalid(violations)


def _digest(form: Form) -> str:
    """Returns a digest of the fields, not of the raw body, as a client sends a new boundary with each attempt."""
    files = {
        name: [[file.content_type, hashlib.sha256(file.data).hexdigest()] for file in named]
        for name, named in form.files.items()
    }
    return strict_json.fingerprint({"texts": form.texts, "files": files})
