"""Provider kind `gemini`: Google's Gemini API."""
