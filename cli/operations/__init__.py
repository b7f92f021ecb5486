"""Commands for operators that call OperationsService of running processes."""
