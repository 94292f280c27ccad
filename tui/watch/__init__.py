"""Looking at a pooler from outside, again and again: polls, and what is made of them.

Nothing here knows a terminal: no Textual, no Rich.
"""
