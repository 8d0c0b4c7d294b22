"""The measure fact_accuracy as a module for the evaluate library."""
