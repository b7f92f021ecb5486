"""What providers behind HTTP share: client, credentials, responses, errors, inputs by model."""
