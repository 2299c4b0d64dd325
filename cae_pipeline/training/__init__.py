"""Fitting the networks: the only room that imports TensorFlow and Keras."""
