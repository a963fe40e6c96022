"""The grid of reproduce.py: cells, the runs that fill them, and the result table."""
