"""The Streamer page in Airflow: what applications do, live, behind Airflow's own log-in."""
