"""Pictures: display objects hold arrays, ``plot`` draws them; matplotlib is imported late."""
