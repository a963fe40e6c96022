"""Stage 1: convert videos to arrays."""
