"""What people ask the results database; nothing here writes."""
