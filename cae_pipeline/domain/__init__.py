"""What people of the trade talk about: lines, batches, images, facts, limits, verdicts, promotions, alerts."""
