"""Stand-ins for providers and their APIs, and the providers under test."""
