"""Figures from what liir has written, and of what a model sees: `liir show`."""
