"""The procedural renderer: pictures drawn by rules from the words of a prompt, offline and without any model.

It owns how a prompt is read and drawn; it knows nothing of jobs or ports. Pure functions on numpy and Pillow: the
adapter of the `procedural` provider calls `render` and nothing else. The way of a picture: `reading` (what the words
ask for), `scene` (palette, horizon, light), `composition` (which layers), the layers, `styles`, `paper`, `encode`.
"""

from services.generator.adapters.providers.procedural.drawing.encode import OutputFormat
from services.generator.adapters.providers.procedural.drawing.render import render

__all__ = ["OutputFormat", "render"]
