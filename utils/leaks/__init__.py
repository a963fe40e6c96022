"""Leaks between test clips and training or validation clips."""
