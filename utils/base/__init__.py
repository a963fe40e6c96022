"""Options, arguments and recipes; files, processes, signals, devices and logs."""
