"""Model cards: NAME.md next to a model, with metadata for the Hugging Face Hub."""
