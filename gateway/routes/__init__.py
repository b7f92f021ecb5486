"""HTTP operations, one module per resource: each reads a request, calls job-service and builds the response."""
