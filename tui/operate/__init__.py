"""Acting on a pooler: which actions there are, what each would hit, jobs, and the journal.

Nothing here knows a terminal: no Textual, no Rich. The commands for scripts use it too.
"""
