"""Each module knows one outside system; none knows another."""
