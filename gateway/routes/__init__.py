"""The HTTP calls, by noun: each reads a request, asks job-service, and renders what it says."""
