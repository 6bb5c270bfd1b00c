"""The run folder and the process it belongs to: paths, checkpoints, environment, stop requests, ranks.

No file contents of other rooms.
"""
