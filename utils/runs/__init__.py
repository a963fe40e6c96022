"""What is known of a run: its files, record, history and model card."""
