"""The services: independent programs that share contracts and mechanisms, never tables or code."""
