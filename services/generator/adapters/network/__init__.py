"""Network rules that providers and images share: trusted hosts, content encodings."""
