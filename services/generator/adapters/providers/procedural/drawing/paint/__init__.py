"""Canvas, colours, curves, noise: the tools that layers are drawn with."""
