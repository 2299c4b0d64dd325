"""Synthetic defects in NumPy: where they are (masks), what they look like (sources), and images that have them."""
