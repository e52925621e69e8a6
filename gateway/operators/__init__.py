"""What operators do from a shell: `python -m gateway.operators`, which `deepersensor users` and `keys` become."""
