"""What tests share: real servers, scripted neighbours, builders. Never imported by production code."""
