"""What is used with `with` and cleans up after itself at the end of the block."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Leaving(ABC):
    """Something to be left: whatever happened in the block, `leave` is called at its end."""

    @abstractmethod
    def leave(self) -> None:
        """Clean up; calling it again does no harm."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()
