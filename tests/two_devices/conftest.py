"""Two logical CPU devices for the tests of this folder.

TensorFlow's devices are fixed once it has started, so that these tests have a process of their own, which
tests/test_two_devices.py starts. Other runs of pytest do not collect them.
"""

import os

if os.environ.get("TWO_DEVICES"):
    import tensorflow as tf

    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
else:
    collect_ignore_glob = ["test_*.py"]
