"""The core of the console, which scripts share: admin connections and what is made of their answers.

Nothing here knows a terminal: no Textual, no Rich.
"""
