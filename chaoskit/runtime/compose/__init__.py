"""Programs in containers of a Docker engine: a Compose project of the user's, made into one of the run's own."""
