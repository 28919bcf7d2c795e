"""Scores of public benchmarks, and the runs that earn them."""
