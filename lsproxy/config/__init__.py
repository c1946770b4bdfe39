"""Configuration: YAML files to typed trees, with every problem told by file, line and path."""
