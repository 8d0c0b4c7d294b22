"""The measure chrf as a module for the evaluate library."""
