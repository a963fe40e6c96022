"""What test clips share with training and validation clips."""
