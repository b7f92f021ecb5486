"""The procedural renderer: images drawn by rules from the words of a prompt, offline and without a model.

It owns how a prompt is read and drawn, and knows nothing of jobs or ports. Pure functions on numpy and Pillow: the
adapter of the `procedural` provider calls only `render`. The steps of an image: `reading` (what the words mean),
`scene` (palette, horizon, light), `composition` (which layers), the layers, `styles`, `paper`, `encode`.
"""

from services.generator.adapters.providers.procedural.drawing.encode import OutputFormat
from services.generator.adapters.providers.procedural.drawing.render import render

__all__ = ["OutputFormat", "render"]
