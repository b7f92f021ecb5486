"""Names and public URLs of objects in the two buckets, which job-, generator- and uploader-service derive alike.

Staging, private: `<job_id>/<call_id>/<index>` for an image, `<job_id>/<call_id>/raw/<part>` for a response that was
paid for and could not be read. Public: `jobs/<job_id>/<index>-<16 hex digits of the SHA-256>.<extension>`.
"""

import re

PUBLIC_ROOT = "jobs/"
_EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}
_JOB_ID = r"job_[0-9a-f]{32}"
_STAGED = re.compile(rf"({_JOB_ID})/(.*)", re.DOTALL)
_PUBLIC = re.compile(rf"{PUBLIC_ROOT}({_JOB_ID})/(.*)", re.DOTALL)


def staged_folder(job_id: str) -> str:
    """Prefix of every object that a job has in staging."""
    return f"{job_id}/"


def staged_call_folder(*, job_id: str, call_id: str) -> str:
    """Prefix of every object that a provider call has in staging."""
    return f"{staged_folder(job_id)}{call_id}/"


def staged_name(*, job_id: str, call_id: str, index: int) -> str:
    """Name of an image of a call in staging; `index` counts from 0 within the call."""
    return f"{staged_call_folder(job_id=job_id, call_id=call_id)}{index}"


def raw_folder(*, job_id: str, call_id: str) -> str:
    """Prefix of the unread responses of a call in staging."""
    return f"{staged_call_folder(job_id=job_id, call_id=call_id)}raw/"


def public_folder(job_id: str) -> str:
    """Prefix of every public object of a job."""
    return f"{PUBLIC_ROOT}{job_id}/"


def public_name(*, job_id: str, index: int, sha256: str, content_type: str) -> str:
    """Name of a public image; `index` counts from 0 within the job.

    The digest is in the name, so an object of that name is a finished copy of the same image.
    """
    return f"{public_folder(job_id)}{index}-{sha256[:16]}.{_EXTENSIONS.get(content_type, 'bin')}"


def public_url(name: str, *, base_url: str) -> str:
    """URL of a public object; `base_url` is the setting `CALOTYPE_PUBLIC_BASE_URL`, which leads to the bucket."""
    return f"{base_url.rstrip('/')}/{name}"


def job_of_staged(name: str) -> str | None:
    """The job that an object in staging belongs to; None for a name that Calotype does not give."""
    return _job_of(_STAGED, name)


def job_of_public(name: str) -> str | None:
    """The job that a public object belongs to; None for a name that Calotype does not give."""
    return _job_of(_PUBLIC, name)


def is_staged_folder(prefix: str) -> bool:
    """Whether a prefix is one job's folder in staging: neither the whole bucket nor a part of a name."""
    return _is_folder(_STAGED, prefix)


def is_public_folder(prefix: str) -> bool:
    """Whether a prefix is one job's public folder: neither the whole bucket nor a part of a name."""
    return _is_folder(_PUBLIC, prefix)


def _job_of(pattern: re.Pattern[str], name: str) -> str | None:
    found = pattern.fullmatch(name)
    return found[1] if found and found[2] else None


def _is_folder(pattern: re.Pattern[str], prefix: str) -> bool:
    found = pattern.fullmatch(prefix)
    return found is not None and not found[2]
