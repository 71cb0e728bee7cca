"""What stands in the way, each with its cure: one small file for each family of checks.

It only looks. It asks no model for anything, wakes no sleeper, changes nothing, and waits for nobody longer than told.
"""
