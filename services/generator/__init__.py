"""generator-service: calls image providers through one port, and puts verified images into the private staging bucket.

It is the only service that may write to the staging bucket. It gets job-service's permission before each provider call
and reports the call's result; it keeps no state that a crash could lose.
"""
