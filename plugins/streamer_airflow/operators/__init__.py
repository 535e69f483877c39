"""Tasks of DAGs. Each is thin: what it does is in `streamer`, below the command line as well."""
