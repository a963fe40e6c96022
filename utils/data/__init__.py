"""From arrays to batches: clips, views of clips, labels, tf.data pipelines."""
