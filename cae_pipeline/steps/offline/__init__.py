"""Steps without a line: evaluate a folder of images, benchmark several."""
