#!/bin/sh
# Once before the parts of Airflow start, and again without harm: database, log-in, connection.
# Secrets come by the environment and go on by pipe and file: all of a host sees command lines.
set -eu
umask 077
airflow db migrate
# Asked for twice, where there is no terminal by standard input.
printf '%s\n%s\n' "$AIRFLOW_ADMIN_PASSWORD" "$AIRFLOW_ADMIN_PASSWORD" |
  airflow users create --role Admin --username "$AIRFLOW_ADMIN" \
    --firstname Streamer --lastname Operator --email "$AIRFLOW_ADMIN@localhost"
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
printf '{"streamer_default": %s}\n' "$STREAMER_CONNECTION" > "$place/connections.json"
# One that is there stays as it is: it may have been changed in the UI.
airflow connections import "$place/connections.json"
