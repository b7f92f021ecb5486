"""Reading a request: body, strict JSON, validation, headers, and the protobuf message that it becomes."""
