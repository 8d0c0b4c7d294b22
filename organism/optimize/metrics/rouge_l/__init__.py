"""The measure rouge_l as a module for the evaluate library."""
