"""Provider kind `huggingface`: Hugging Face's inference router."""
