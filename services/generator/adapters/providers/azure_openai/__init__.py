"""Provider kind `azure_openai`: OpenAI's Images API on Azure."""
