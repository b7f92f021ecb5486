"""generator-service: providers behind one port, and what they return as verified images in private staging.

It is the only one that may write to the staging bucket. It asks job-service before each provider call and states what
became of it; it owns no state that a crash could take.
"""
