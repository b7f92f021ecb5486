"""Replaces names in a job of OpenAI's format that only the catalogue of providers explains."""

from collections.abc import Sequence

from calotype.job.v1 import job_pb2
from calotype.provider.v1 import provider_pb2

#: A default of OpenAI's older clients, which some providers have as a quality of their own.
_STANDARD = "standard"


def needs_catalogue(job: job_pb2.JobRequest) -> bool:
    """Returns whether `resolve` may change the job."""
    return bool(job.provider and not job.model) or job.quality == _STANDARD


def resolve(job: job_pb2.JobRequest, providers: Sequence[provider_pb2.Provider]) -> None:
    """Replaces an alias by its provider and model, and removes the quality `standard` where it is not one, in place.

    A name that the catalogue does not have stays, for job-service to refuse it.
    """
    _replace_alias(job, providers)
    if job.quality == _STANDARD and _STANDARD not in _qualities(job, providers):
        job.ClearField("quality")


def _replace_alias(job: job_pb2.JobRequest, providers: Sequence[provider_pb2.Provider]) -> None:
    if not job.provider or job.model or any(provider.name == job.provider for provider in providers):
        return
    for provider in providers:
        if model := provider.aliases.get(job.provider):
            job.provider, job.model = provider.name, model
            return


def _qualities(job: job_pb2.JobRequest, providers: Sequence[provider_pb2.Provider]) -> Sequence[str]:
    is_chosen = (provider for provider in providers if provider.name == job.provider)
    default = (provider for provider in providers if provider.is_default)
    provider = next(is_chosen if job.provider else default, None)
    if provider is None:
        return ()
    name = job.model or provider.default_model
    own = (model.capabilities for model in provider.models if model.name == name and model.HasField("capabilities"))
    return next(own, provider.capabilities).qualities
