"""Pulumi resources: what carries the plan out."""
