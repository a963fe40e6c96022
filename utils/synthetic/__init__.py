"""Built-in synthetic action videos."""
