"""What can be asked: the models that workers announce."""
