"""How the appliance is built: configuration to plan to resources."""
