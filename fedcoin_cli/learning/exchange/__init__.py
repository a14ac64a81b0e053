"""Models and weights of other tools: from ONNX, PyTorch and Keras to what miners read."""
