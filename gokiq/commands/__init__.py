"""What the operator types: one file a command."""
