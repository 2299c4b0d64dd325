"""The network: the only place that imports TensorFlow and Keras."""
