"""The generator's rules about a claimed job, its provider calls and its images. Imports the standard library only."""
