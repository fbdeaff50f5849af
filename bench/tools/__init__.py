"""The commands beside a run: two runs, two builds, thread scaling, the peers' environment."""
