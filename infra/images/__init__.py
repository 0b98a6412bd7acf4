"""Container images from declarative recipes over one Debian base."""
