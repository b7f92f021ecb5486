"""What an OpenAI client asks for, as a job."""

import hashlib
from dataclasses import dataclass
from typing import Any

from calotype.job.v1 import job_pb2

from gateway.openai_images.forms import File, Form
from gateway.openai_images.forms import parse as parse_form
from gateway.openai_images.schemas import FORM_KINDS, ImageParameters
from gateway.problems.problem import Violation, invalid
from gateway.requests import strict_json, validation
from gateway.schemas.requests import MAX_INPUT_BYTES, MAX_INPUT_BYTES_TOGETHER, MAX_INPUTS

#: The client writes one picture as `image`, several as `image[]`.
_IMAGES = ("image", "image[]")
_FILES = (*_IMAGES, "mask")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A job, and how its end is to be told; the fingerprint binds the path and all that was sent."""

    job: job_pb2.JobRequest
    fingerprint: str
    as_base64: bool
    as_stream: bool


def generation(raw: bytes, *, path: str) -> Asked:
    """What a JSON body asks for. Raises `Problem`."""
    sent = strict_json.parse(raw)
    return _asked(sent, {}, path=path, digest=strict_json.fingerprint(sent))


def edit(raw: bytes, *, path: str, content_type: str) -> Asked:
    """What a form asks for. Raises `Problem`."""
    form = parse_form(raw, content_type)
    strict_json.refuse_faults(dict(form.texts))
    _check_files(form.files)
    return _asked(_values(form.texts), form.files, path=path, digest=_digest(form))


def _asked(sent: dict[str, Any], files: dict[str, list[File]], *, path: str, digest: str) -> Asked:
    body = validation.check(ImageParameters, sent)
    if body.stream and body.response_format == "url":
        raise invalid([Violation(field="response_format", message="The events of a stream bring b64_json alone.")])
    return Asked(
        job=_job(body, files),
        # Hashed together, so that the same body on two paths is two requests.
        fingerprint=hashlib.sha256(f"{path}\n{digest}".encode()).hexdigest(),
        as_base64=body.response_format == "b64_json",
        as_stream=bool(body.stream),
    )


def _job(body: ImageParameters, files: dict[str, list[File]]) -> job_pb2.JobRequest:
    provider, _, model = (body.model or "").partition("/")
    mask = files.get("mask")
    return job_pb2.JobRequest(
        prompt=body.prompt,
        provider=provider or None,
        model=model or None,
        n=body.n or 1,
        size=_unless_auto(body.size),
        quality=_unless_auto(body.quality),
        output_format=body.output_format,
        background=_unless_auto(body.background),
        output_compression=body.output_compression,
        moderation=_unless_auto(body.moderation),
        # `low` is what a client gets that asks for nothing.
        input_fidelity=body.input_fidelity if body.input_fidelity != "low" else None,
        input_images=[_picture(one) for name in _IMAGES for one in files.get(name, ())],
        mask=_picture(mask[0]) if mask else None,
        end_user=body.safety_identifier or body.user,
    )


def _unless_auto(value: str | None) -> str | None:
    return None if value == "auto" else value


def _picture(file: File) -> job_pb2.InputImage:
    # Clients that do not know a file's type say application/octet-stream; the generator looks for itself.
    stated = file.content_type if file.content_type.startswith("image/") else ""
    return job_pb2.InputImage(data=file.data, content_type=stated)


def _values(texts: dict[str, str]) -> dict[str, Any]:
    """Texts as the values that JSON would bring; what is none of its kind is refused later, under its name."""
    values: dict[str, Any] = {}
    for name, text in texts.items():
        try:
            values[name] = FORM_KINDS[name](text) if name in FORM_KINDS else text
        except (ValueError, KeyError):
            values[name] = text
    return values


def _check_files(files: dict[str, list[File]]) -> None:
    wrong = [Violation(field=name[:100], message="There is no such file.") for name in files if name not in _FILES]
    images = [one for name in _IMAGES for one in files.get(name, ())]
    if not 1 <= len(images) <= MAX_INPUTS:
        wrong.append(Violation(field="image", message=f"Send 1 to {MAX_INPUTS} files."))
    if len(files.get("mask", ())) > 1:
        wrong.append(Violation(field="mask", message="Send one."))
    everything = [(name, one) for name in _FILES for one in files.get(name, ())]
    for name, one in everything:
        if not 1 <= len(one.data) <= MAX_INPUT_BYTES:
            wrong.append(Violation(field=name, message=f"1 to {MAX_INPUT_BYTES:,} bytes each."))
    if sum(len(one.data) for _, one in everything) > MAX_INPUT_BYTES_TOGETHER:
        wrong.append(Violation(field="image", message=f"At most {MAX_INPUT_BYTES_TOGETHER:,} bytes together."))
    if wrong:
        raise invalid(wrong)


def _digest(form: Form) -> str:
    """Of what was sent, not of how: every attempt of a client has another boundary."""
    files = {
        name: [[one.content_type, hashlib.sha256(one.data).hexdigest()] for one in found]
        for name, found in form.files.items()
    }
    return strict_json.fingerprint({"texts": form.texts, "files": files})
