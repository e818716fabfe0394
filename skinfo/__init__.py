"""skinfo."""
