"""uploader-service: copies staged images into the public bucket, and empties folders there when jobs are deleted.

It is the only service that may write to the public bucket. It claims work from job-service and reports the results.
"""
