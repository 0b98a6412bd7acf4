"""What services share; nothing here knows a service."""
