"""Servers: reached, looked at, taken over, and brought to what the plan says of them."""
