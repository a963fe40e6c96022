"""Arrays and splits: clips, batches, views, protocols, groups, leaks."""
