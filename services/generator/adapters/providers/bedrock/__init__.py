"""Provider kind `bedrock`: Amazon Bedrock."""
