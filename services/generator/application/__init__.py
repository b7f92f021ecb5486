"""Use cases of generator-service: run a claimed job, settle open calls of final jobs, empty staging folders."""
