"""An S3 bucket as the object store, through the minio client."""
