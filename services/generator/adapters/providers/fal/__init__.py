"""Provider kind `fal`: fal.ai."""
