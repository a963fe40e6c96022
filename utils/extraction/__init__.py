"""Stage 1: videos to arrays."""
