"""Network rules that providers and images share: allowed addresses, content encodings, Retry-After."""
