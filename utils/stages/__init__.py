"""The stages as functions of parsed arguments, called by the scripts and by reproduce.py."""
