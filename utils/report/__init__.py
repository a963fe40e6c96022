"""The report pages of eval.py and reproduce.py."""
