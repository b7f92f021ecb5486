"""Converts finished jobs and the catalogue of providers to OpenAI's response format."""

import base64
from collections.abc import Sequence
from typing import Literal

from calotype.job.v1 import job_pb2
from calotype.provider.v1 import provider_pb2

from gateway.openai_images.schemas import CompletedView, ImagesView, ImageView, ModelList, OpenAIModelView, UsageView
from gateway.views.protobuf import optional, required_time

Completed = Literal["image_generation.completed", "image_edit.completed"]


def images(job: job_pb2.Job, contents: Sequence[bytes] | None = None) -> ImagesView:
    """Returns the images of a completed job: in base64 if their `contents` are passed, in order; else as URLs."""
    first = job.artifacts[0] if job.artifacts else None
    return ImagesView(
        created=int(required_time(job, "completed_at").timestamp()),
        data=[
            ImageView(
                url=artifact.url if contents is None else None,
                b64_json=None if contents is None else _base64(contents[index]),
                revised_prompt=optional(artifact.image, "revised_prompt"),
            )
            for index, artifact in enumerate(job.artifacts)
        ],
        output_format=None if first is None else _format(first),
        size=None if first is None else _size(first),
    )


def completed(job: job_pb2.Job, artifact: job_pb2.PublicArtifact, content: bytes, *, kind: Completed) -> CompletedView:
    """Returns the stream event of one image."""
    return CompletedView(
        type=kind,
        b64_json=_base64(content),
        created_at=int(required_time(job, "completed_at").timestamp()),
        size=_size(artifact),
        quality=optional(job.request, "quality") or "auto",
        background=optional(job.request, "background") or "auto",
        output_format=_format(artifact),
        usage=UsageView(),
    )


def models(providers: Sequence[provider_pb2.Provider]) -> ModelList:
    """Returns every provider (its name selects its default model), every model that it lists, and every alias."""
    views = [
        _model(name, provider)
        for provider in providers
        for name in (
            provider.name,
            *(f"{provider.name}/{model.name}" for model in provider.models),
            *_aliases(provider, providers),
        )
    ]
    return ModelList(object="list", data=views)


def model(providers: Sequence[provider_pb2.Provider], name: str) -> OpenAIModelView | None:
    """Returns the model with this name; None if there is none. A provider that lists no models accepts any name."""
    provider_name, _, model_name = name.partition("/")
    for provider in providers:
        listed = {listed_model.name for listed_model in provider.models}
        if provider.name == provider_name and (name == provider_name or (model_name and not listed)):
            return _model(name, provider)
        if provider.name == provider_name and model_name in listed:
            return _model(name, provider)
        if name in _aliases(provider, providers):
            return _model(name, provider)
    return None


def _aliases(provider: provider_pb2.Provider, providers: Sequence[provider_pb2.Provider]) -> list[str]:
    """Returns the aliases of models that the tenant may use; the name of a provider is never an alias."""
    models = {provider.default_model, *(listed.name for listed in provider.models)}
    names = {other.name for other in providers}
    return sorted(alias for alias, target in provider.aliases.items() if target in models and alias not in names)


def _model(name: str, provider: provider_pb2.Provider) -> OpenAIModelView:
    # The creation time of a model is unknown; clients require a number.
    return OpenAIModelView(id=name, object="model", created=0, owned_by=provider.kind)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _format(artifact: job_pb2.PublicArtifact) -> str:
    return artifact.image.content_type.removeprefix("image/")


def _size(artifact: job_pb2.PublicArtifact) -> str:
    return f"{artifact.image.width}x{artifact.image.height}"
