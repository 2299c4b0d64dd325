"""How the pipeline runs: on one machine, as a demo, on many."""
