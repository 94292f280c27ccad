"""A file as text that can be edited: what nobody touches keeps its bytes."""

from __future__ import annotations

import difflib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Final

from pooler.config.ini import Reader, read_bytes

MAX_BYTES: Final = 1024 * 1024
"""What is larger is no configuration that anybody edits by hand."""

_CONTROL_PICTURES: Final = 0x2400
_DELETE: Final = 0x7F
_DELETE_PICTURE: Final = "\u2421"
_PRIVATE_USE: Final = 0xE000


class DocumentProblem(Exception):
    """A file that cannot be opened, or a text that it cannot hold; the words are for whoever edits it."""


@dataclass(frozen=True, slots=True)
class Document:
    """A file as it was read, and its text.

    Lines of `text` end in a line feed. What would steer a terminal, or cannot be seen, has a character of
    `stand_ins` in its place; what is typed as such a character is saved as what it stands for.
    """

    path: str
    """As it was named; a symbolic link is not followed."""
    data: bytes
    text: str
    encoding: str
    """`utf-8`, or `latin-1` for a file that is not: its bytes stay, whatever they meant."""
    ends: tuple[str, ...]
    """Of each line, but for the last if it has none: a line feed, or carriage return and line feed."""
    stand_ins: Mapping[str, str]
    """By the character that they stand for."""

    def encode(self, text: str) -> bytes:
        """The bytes of the file with this text. Lines that are not new end as they did.

        Raises DocumentProblem for a character that the encoding of the file does not have.
        """
        lines = text.split("\n")
        ends = self._ends_of(lines)
        meant = {ord(stand_in): character for character, stand_in in self.stand_ins.items()}
        whole = "".join(line.translate(meant) + end for line, end in zip(lines, ends, strict=True))
        try:
            return whole.encode(self.encoding)
        except UnicodeEncodeError as error:
            line = whole.count("\n", 0, error.start) + 1
            raise DocumentProblem(
                f"{self.path}:{line}: the file is not UTF-8, and has no {whole[error.start]!r}"
            ) from None

    def saved(self, text: str) -> Document:
        """The document once `text` has been written; it goes on being read as it was."""
        ends = tuple(self._ends_of(text.split("\n"))[:-1])
        return replace(self, data=self.encode(text), text=text, ends=ends)

    def _ends_of(self, lines: Sequence[str]) -> list[str]:
        """The line ends of another text of this file; its last line has none."""
        usual = Counter(self.ends).most_common(1)[0][0] if self.ends else "\n"
        if len(set(self.ends)) <= 1:
            return [usual] * (len(lines) - 1) + [""]
        old = self.text.split("\n")
        found = [usual] * len(lines)
        matcher = difflib.SequenceMatcher(None, old, lines, autojunk=False)
        for operation, old_start, old_stop, start, stop in matcher.get_opcodes():
            # A line that was changed keeps its end as well, as long as it can be told which one it was.
            if operation == "equal" or stop - start == old_stop - old_start:
                for place in range(stop - start):
                    number = old_start + place
                    found[start + place] = self.ends[number] if number < len(self.ends) else usual
        return [*found[:-1], ""]


def read_document(path: str, read: Reader = read_bytes) -> Document:
    """Open a file for editing. Raises DocumentProblem."""
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise DocumentProblem(f"{path}: not a regular file")
        data = read(path)
    except OSError as error:
        raise DocumentProblem(f"{path}: {error.strerror}") from None
    except ValueError:
        raise DocumentProblem(f"{path!r}: not a file name") from None
    if len(data) > MAX_BYTES:
        raise DocumentProblem(f"{path}: has {len(data):,} bytes, which is too much for a configuration file")
    if b"\0" in data:
        raise DocumentProblem(f"{path}: is not a text, there are zero bytes in it")
    return document_of(path, data)


def document_of(path: str, data: bytes) -> Document:
    """The document of a file with this content."""
    encoding = "utf-8"
    try:
        whole = data.decode(encoding)
    except UnicodeDecodeError:
        encoding = "latin-1"
        whole = data.decode(encoding)
    raw = whole.split("\n")
    ends = tuple("\r\n" if line.endswith("\r") else "\n" for line in raw[:-1])
    lines = [line[:-1] if end == "\r\n" else line for line, end in zip(raw, (*ends, ""), strict=True)]
    stand_ins = _stand_ins("".join(lines))
    table = {ord(character): stand_in for character, stand_in in stand_ins.items()}
    text = "\n".join(line.translate(table) for line in lines)
    return Document(path, data, text, encoding, ends, stand_ins)


def _stand_ins(text: str) -> dict[str, str]:
    """A character of its own, that the text does not have, for each one that is not to be shown as it is."""
    present = set(text)
    found: dict[str, str] = {}
    spare = (chr(code) for code in count(_PRIVATE_USE) if chr(code) not in present)
    for character in sorted(present):
        if character.isprintable() or character == "\t":
            continue
        wanted = _picture(character)
        found[character] = wanted if wanted and wanted not in present else next(spare)
    return found


def _picture(character: str) -> str:
    code = ord(character)
    if code < ord(" "):
        return chr(_CONTROL_PICTURES + code)
    return _DELETE_PICTURE if code == _DELETE else ""
