"""How the processes are run: the local stack, containers, the reverse proxy."""
