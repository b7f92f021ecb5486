"""Provider kind `replicate`: Replicate."""
