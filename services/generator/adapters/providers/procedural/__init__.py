"""Provider kind `procedural`: images drawn by rules, on this machine."""
