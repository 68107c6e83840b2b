"""Who may talk to whom. What is here is given to the streams as plain callables; neither imports the other."""
