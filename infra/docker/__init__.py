"""What the image holds besides the product: the checks by which a container tells whether its role works."""
