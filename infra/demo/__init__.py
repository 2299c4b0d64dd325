"""The demo on real images of solar cells."""
