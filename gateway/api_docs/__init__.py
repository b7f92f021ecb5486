"""The API described for people and programs: the OpenAPI document, its examples, the HTML pages."""
