"""The shapes of the REST contract: strict for what comes in, complete for what goes out."""
