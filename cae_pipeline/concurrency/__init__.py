"""Work on all cores, and in processes of their own."""
