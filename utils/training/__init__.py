"""Stages 2 and 3: teachers, their targets, the fit loop and its resumable state."""
