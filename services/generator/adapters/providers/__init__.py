"""Image providers, one package per kind, with its provider-file entry, requests and error map."""
