"""A running stack: its clients, tenants, frozen servers, and users of the operating system."""
