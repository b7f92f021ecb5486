"""Provider kind `diffusers`: the library diffusers on this machine."""
