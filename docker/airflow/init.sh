#!/bin/sh
# Once before the parts of Airflow start, and again without harm: database, log-in, connection.
set -eu
airflow db migrate
airflow users create --role Admin --username "$AIRFLOW_ADMIN" --password "$AIRFLOW_ADMIN_PASSWORD" \
  --firstname Streamer --lastname Operator --email "$AIRFLOW_ADMIN@localhost"
# One that was changed in the UI stays as it is.
airflow connections get streamer_default >/dev/null 2>&1 ||
  airflow connections add streamer_default --conn-json "$STREAMER_CONNECTION"
