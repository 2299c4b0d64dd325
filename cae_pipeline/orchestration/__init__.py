"""What the DAGs share, and the plugin of Airflow."""
