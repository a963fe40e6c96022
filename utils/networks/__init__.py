"""Networks on disk and on a device: recognisers, records, builders, precision, cost."""
