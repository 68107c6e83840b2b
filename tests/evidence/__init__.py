"""Evidence: which property was tried how often, with which seeds and what result."""
