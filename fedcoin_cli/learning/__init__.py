"""Learning: data, models, training and weights; the only package with Keras and TensorFlow."""
