"""The results database: schema, writes, queries and migrations; SQLite or PostgreSQL."""
