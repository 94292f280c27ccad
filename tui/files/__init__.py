"""Files of a pooler that runs on this machine: its configuration, to be edited, and its log, to be followed.

Nothing here knows a terminal: no Textual, no Rich.
"""
