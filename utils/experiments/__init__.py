"""The experiment of reproduce.py: its grid of trainings and its results."""
