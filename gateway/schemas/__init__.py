"""Request and response models of the REST API: strict for requests, complete for responses."""
