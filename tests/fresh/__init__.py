"""Fresh systems: both commands of the README on newly installed Debian, with the rights that a container has."""
