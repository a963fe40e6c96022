"""Video files: reading them into arrays (stage 1), and the built-in synthetic videos."""
