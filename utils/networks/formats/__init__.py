"""Formats of exported files, one module each, and opened files behind one interface.

Packages of a format are imported when it is used; opening a file for predictions needs neither TensorFlow nor Keras.
"""
