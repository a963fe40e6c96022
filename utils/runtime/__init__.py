"""The operating system: files, processes, signals, devices, logs. Nothing here knows about videos or networks."""
