"""Provider kind `a1111`: AUTOMATIC1111's web UI, Forge and SD.Next."""
