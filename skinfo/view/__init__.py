"""From a flow to pictures and a report."""
