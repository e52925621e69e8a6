"""Proof that no token is lost, doubled or mixed up when things break: faults, clients, and a judge of what they saw.

`proxy` breaks the line between any two parts. `storyteller` is an Ollama whose every token names the job and the
generation that it belongs to. `clients` ask, read, come back and go away as the contract lets them, and write down
all they see (`transcript`). `checker` compares that, afterwards and without the product, with what the model sent.
"""
