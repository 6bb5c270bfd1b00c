"""Charts as SVG, drawn on the server; they take numbers and know no run."""
