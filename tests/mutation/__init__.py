"""Mutation testing: small faults put into `securestream/protocol/`, which its tests have to find."""
