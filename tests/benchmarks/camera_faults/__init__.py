"""Which camera faults validation catches by name, and what it remarks on in images of a healthy camera."""
