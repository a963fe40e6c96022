"""Operating-system services: files, processes, signals, devices, logs. Nothing here depends on videos or networks."""
