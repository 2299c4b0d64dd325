"""The steps of a night: find, validate, plan and score, watch, publish, alert; and scoring again."""
