"""How tasks reach an application: by a connection of the type `streamer`."""
