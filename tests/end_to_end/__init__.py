"""What clients and operators are promised, kept against real processes: a file for each promise.

A package, so that its processes live as long as the tests in it, and no longer.
"""
