"""Home: is the loop alive, what did it eat, what did that become, and what needs a person."""
