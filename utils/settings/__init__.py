"""What a user can set: options with their defaults, command-line arguments, recipes."""
