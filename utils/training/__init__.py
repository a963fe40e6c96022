"""The fit loop: callbacks, guards, history, resumable state."""
