"""Options of a job for a pipeline: a few, typed and bounded, by the names that the provider file has for them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.generator.adapters.providers.diffusers.pipeline_thread import Unsupported


@dataclass(frozen=True, kw_only=True)
class Option:
    """What an option may be, and the pipeline's own argument for it."""

    argument: str
    least: float
    most: float
    is_whole: bool = False
    #: Only with a picture to begin with.
    needs_picture: bool = False


OPTIONS = {
    "steps": Option(argument="num_inference_steps", least=1, most=500, is_whole=True),
    "guidance_scale": Option(argument="guidance_scale", least=0, most=100),
    "strength": Option(argument="strength", least=0.01, most=1, needs_picture=True),
    "true_cfg_scale": Option(argument="true_cfg_scale", least=0, most=100),
    "guidance_rescale": Option(argument="guidance_rescale", least=0, most=1),
    "eta": Option(argument="eta", least=0, most=1),
}


def arguments_of(options: Mapping[str, Any], *, max_steps: int, has_picture: bool) -> dict[str, float]:
    """The pipeline's arguments. Raises `Unsupported`."""
    return {
        _known(name).argument: _checked(name, value, max_steps=max_steps, has_picture=has_picture)
        for name, value in options.items()
    }


def _known(name: str) -> Option:
    if name not in OPTIONS:
        raise Unsupported(f"it takes no option {name[:100]}, but {', '.join(OPTIONS)}")
    return OPTIONS[name]


def _checked(name: str, value: Any, *, max_steps: int, has_picture: bool) -> float:
    option = _known(name)
    most = min(option.most, max_steps) if name == "steps" else option.most
    kind = "a whole number" if option.is_whole else "a number"
    fits = isinstance(value, int if option.is_whole else int | float) and not isinstance(value, bool)
    if not fits or not option.least <= value <= most:
        raise Unsupported(f"the option {name} must be {kind} from {option.least:g} to {most:g}")
    if option.needs_picture and not has_picture:
        raise Unsupported(f"the option {name} needs an input image")
    number: float = value
    return number
