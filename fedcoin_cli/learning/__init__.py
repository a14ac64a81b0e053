"""Learning: data, models, training and weights; the only room with Keras and TensorFlow."""
