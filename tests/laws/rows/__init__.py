"""The examples, one file for each room."""
