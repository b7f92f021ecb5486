"""The wheels of this repository, built and installed as other people do."""
