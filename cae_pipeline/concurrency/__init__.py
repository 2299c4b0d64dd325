"""Work in parallel and in processes of their own; the standard library only."""
