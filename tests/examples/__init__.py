"""The examples do what they say, also when somebody wants them to do something else."""
