"""Facts in, HTML pages and PNG pictures out."""
