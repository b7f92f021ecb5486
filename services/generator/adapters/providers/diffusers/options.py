"""Options of a job for a pipeline: names, types, bounds, and the pipeline's arguments for them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.generator.adapters.providers.diffusers.pipeline_thread import Unsupported


@dataclass(frozen=True, kw_only=True)
class Option:
    """The bounds of an option, and the pipeline's argument for it."""

    argument: str
    """Name of the pipeline's argument."""
    minimum: float
    """Smallest value."""
    maximum: float
    """Largest value."""
    is_whole: bool = False
    """Whether only whole numbers are allowed."""
    needs_image: bool = False
    """Whether the option is allowed only with an input image."""


OPTIONS = {
    "steps": Option(argument="num_inference_steps", minimum=1, maximum=500, is_whole=True),
    "guidance_scale": Option(argument="guidance_scale", minimum=0, maximum=100),
    "strength": Option(argument="strength", minimum=0.01, maximum=1, needs_image=True),
    "true_cfg_scale": Option(argument="true_cfg_scale", minimum=0, maximum=100),
    "guidance_rescale": Option(argument="guidance_rescale", minimum=0, maximum=1),
    "eta": Option(argument="eta", minimum=0, maximum=1),
}


def arguments_of(options: Mapping[str, Any], *, max_steps: int, has_image: bool) -> dict[str, float]:
    """Returns the pipeline's arguments for a job's options. Raises `Unsupported`."""
    return {
        _known(name).argument: _checked(name, value, max_steps=max_steps, has_image=has_image)
        for name, value in options.items()
    }


def _known(name: str) -> Option:
    if name not in OPTIONS:
        raise Unsupported(f"it takes no option {name[:100]}; allowed are {', '.join(OPTIONS)}")
    return OPTIONS[name]


def _checked(name: str, value: Any, *, max_steps: int, has_image: bool) -> float:
    option = _known(name)
    limit = min(option.maximum, max_steps) if name == "steps" else option.maximum
    kind = "a whole number" if option.is_whole else "a number"
    fits = isinstance(value, int if option.is_whole else int | float) and not isinstance(value, bool)
    if not fits or not option.minimum <= value <= limit:
        raise Unsupported(f"the option {name} must be {kind} from {option.minimum:g} to {limit:g}")
    if option.needs_image and not has_image:
        raise Unsupported(f"the option {name} needs an input image")
    number: float = value
    return number
