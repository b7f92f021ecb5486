"""A finished job as OpenAI's clients read it."""

import base64
from collections.abc import Sequence
from typing import Literal

from calotype.job.v1 import job_pb2
from calotype.provider.v1 import provider_pb2

from gateway.openai_images.schemas import CompletedView, ImagesView, ImageView, ModelList, OpenAIModelView, UsageView
from gateway.views.protobuf import given, sure_moment

Completed = Literal["image_generation.completed", "image_edit.completed"]


def images(job: job_pb2.Job, pictures: Sequence[bytes] | None = None) -> ImagesView:
    """The pictures of a completed job: their addresses, or themselves when they are given."""
    first = job.artifacts[0] if job.artifacts else None
    return ImagesView(
        created=int(sure_moment(job, "completed_at").timestamp()),
        data=[
            ImageView(
                url=artifact.url if pictures is None else None,
                b64_json=None if pictures is None else _base64(pictures[place]),
                revised_prompt=given(artifact.image, "revised_prompt"),
            )
            for place, artifact in enumerate(job.artifacts)
        ],
        output_format=None if first is None else _format(first),
        size=None if first is None else _size(first),
    )


def completed(job: job_pb2.Job, artifact: job_pb2.PublicArtifact, picture: bytes, *, kind: Completed) -> CompletedView:
    """The event of one picture."""
    return CompletedView(
        type=kind,
        b64_json=_base64(picture),
        created_at=int(sure_moment(job, "completed_at").timestamp()),
        size=_size(artifact),
        quality=given(job.request, "quality") or "auto",
        background=given(job.request, "background") or "auto",
        output_format=_format(artifact),
        usage=UsageView(),
    )


def models(providers: Sequence[provider_pb2.Provider]) -> ModelList:
    """Every provider, which means its default model, and every model that it lists."""
    found = [
        _model(name, provider)
        for provider in providers
        for name in (provider.name, *(f"{provider.name}/{model.name}" for model in provider.models))
    ]
    return ModelList(object="list", data=found)


def model(providers: Sequence[provider_pb2.Provider], name: str) -> OpenAIModelView | None:
    """One of them, or one of a provider that passes any name on."""
    provider_name, _, model_name = name.partition("/")
    for provider in providers:
        listed = {one.name for one in provider.models}
        if provider.name == provider_name and (name == provider_name or (model_name and not listed)):
            return _model(name, provider)
        if provider.name == provider_name and model_name in listed:
            return _model(name, provider)
    return None


def _model(name: str, provider: provider_pb2.Provider) -> OpenAIModelView:
    # When a model came to be is not known here; clients insist on a number.
    return OpenAIModelView(id=name, object="model", created=0, owned_by=provider.kind)


def _base64(picture: bytes) -> str:
    return base64.b64encode(picture).decode("ascii")


def _format(artifact: job_pb2.PublicArtifact) -> str:
    return artifact.image.content_type.removeprefix("image/")


def _size(artifact: job_pb2.PublicArtifact) -> str:
    return f"{artifact.image.width}x{artifact.image.height}"
