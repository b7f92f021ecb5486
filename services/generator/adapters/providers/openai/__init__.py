"""Provider kind `openai`: OpenAI's Images API and compatible servers."""
