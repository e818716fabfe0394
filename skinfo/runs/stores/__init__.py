"""Where the arrays of a run lie: a file per format."""
