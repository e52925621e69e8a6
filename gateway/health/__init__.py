"""Tells orchestrators and operators how the gateway is."""
