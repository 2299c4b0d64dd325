"""Pure mathematics on arrays: conformal prediction, metrics, drift, splits, active learning, baselines."""
