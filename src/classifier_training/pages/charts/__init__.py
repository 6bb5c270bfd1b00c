"""Charts as SVG, made from numbers; nothing here knows what a run is."""
