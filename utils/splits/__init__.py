"""Splits into training, validation and test clips, from labels and clip names only."""
