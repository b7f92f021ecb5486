"""Authentication and authorization: the keys file, client tokens, who the caller is, what the audit records."""
