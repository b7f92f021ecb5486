"""What providers and images share about the network: allowed addresses, content encodings, Retry-After."""
