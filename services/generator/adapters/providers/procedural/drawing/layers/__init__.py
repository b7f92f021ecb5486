"""What a scene is made of, drawn layer by layer."""
