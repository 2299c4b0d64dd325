"""Pure rules: arrays and frozen dataclasses in, arrays and frozen dataclasses out."""
