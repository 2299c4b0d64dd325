"""The steps of a model's life: snapshot, train, gate, promote, threshold, review."""
