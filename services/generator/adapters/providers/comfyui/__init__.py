"""Provider kind `comfyui`: ComfyUI servers and Comfy Cloud."""
