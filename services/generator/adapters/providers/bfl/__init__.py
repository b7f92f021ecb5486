"""Provider kind `bfl`: Black Forest Labs."""
