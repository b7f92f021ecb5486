"""Reading a request: body, strict JSON, validation, headers, and conversion to protobuf."""
