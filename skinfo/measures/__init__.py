"""The mathematics: checked arrays in, quantities out; one file an idea."""
