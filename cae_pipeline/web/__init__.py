"""Pages and the JSON API inside Airflow."""
