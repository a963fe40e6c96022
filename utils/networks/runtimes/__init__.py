"""Exported networks (ONNX, OpenVINO, LiteRT) behind one interface, without TensorFlow or Keras."""
