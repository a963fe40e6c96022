"""User settings: options with their defaults, command-line arguments, recipes."""
