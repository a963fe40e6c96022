"""Which clips train, validate and test, from labels and names alone."""
