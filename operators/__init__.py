"""What operators do from a shell: `python -m operators users | keys`, which `deepersensor users` and `keys` become."""
