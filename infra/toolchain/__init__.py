"""What the registries do not ship ready-made, built from pinned Go modules."""
