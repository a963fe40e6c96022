"""The built-in synthetic action videos."""
