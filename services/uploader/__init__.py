"""uploader-service: copies staged images into the public bucket, and empties folders there when jobs are deleted.

It is the only one that may write to the public bucket. It asks job-service for work and states what became of it.
"""
