"""Provider kind `stability`: Stability AI."""
