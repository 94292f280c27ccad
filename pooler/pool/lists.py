"""Doubly linked lists of connections.

The state of a connection is the list that it is in, and `Member.move_last` and `Member.move_first` are the
only ways from one to another: a connection can be in no list or in one, never in two (docs/architecture.md,
"Correctness"). Linked through the members themselves, every move costs the same with forty thousand waiting
clients as with one.
"""

from collections.abc import Iterator

from mypy_extensions import i64


class Member:
    """Something that is in one list at a time."""

    __slots__ = (
        "following",
        "place",
        "previous",
    )

    place: "MemberList | None"
    previous: "Member | None"
    following: "Member | None"

    def __init__(self) -> None:
        self.place = None
        self.previous = None
        self.following = None

    def leave(self) -> None:
        """Out of the list that it is in, if any."""
        place = self.place
        if place is None:
            return
        before = self.previous
        after = self.following
        if before is None:
            place.first = after
        else:
            before.following = after
        if after is None:
            place.last = before
        else:
            after.previous = before
        self.previous = None
        self.following = None
        self.place = None
        place.count -= 1

    def move_last(self, target: "MemberList") -> None:
        """To the end of `target`."""
        self.leave()
        last = target.last
        self.previous = last
        if last is None:
            target.first = self
        else:
            last.following = self
        target.last = self
        self.place = target
        target.count += 1

    def move_first(self, target: "MemberList") -> None:
        """To the front of `target`."""
        self.leave()
        first = target.first
        self.following = first
        if first is None:
            target.last = self
        else:
            first.previous = self
        target.first = self
        self.place = target
        target.count += 1


class MemberList:
    """The members that share a state."""

    state: str
    first: Member | None
    last: Member | None
    count: i64

    def __init__(self, state: str) -> None:
        self.state = state
        self.first = None
        self.last = None
        self.count = 0

    def __iter__(self) -> Iterator[Member]:
        """The members as they are now, first to last; they may move while they are looked at."""
        return iter(self.members())

    def members(self) -> list[Member]:
        """A copy, first to last."""
        found: list[Member] = []
        member = self.first
        while member is not None:
            found.append(member)
            member = member.following
        return found
