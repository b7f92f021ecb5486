"""Authentication and authorization: the keys file, client tokens, the principal of a request, the audit."""
