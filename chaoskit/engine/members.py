"""The programs of a pipeline as the engine keeps track of them: which life, what state, hurt or not."""

from dataclasses import dataclass
from typing import Literal

State = Literal["waiting", "up", "restarting", "finished", "dead"]

# A program that dies by itself is started again after a while that doubles, and given up after this many deaths
# in a row; a death that chaoskit caused does not count.
CRASHES_IN_A_ROW = 8
# Without a broker nothing but the program itself can make its next life go another way.
CRASHES_IN_A_ROW_ALONE = 3
_FIRST_BACKOFF_S = 0.05
_LONGEST_BACKOFF_S = 1.0
# A life that lasted this long did something: the deaths before it were no loop.
_LONG_LIFE_S = 2.0


@dataclass
class Member:
    """One program. `consumed` remembers that it once consumed from a queue, so that it must again after a restart."""

    name: str
    crashes_in_a_row: int = CRASHES_IN_A_ROW
    state: State = "waiting"
    life: int = -1
    hurt: bool = False
    stay_dead: bool = False
    hurt_if_killed: bool = False
    consumed: bool = False
    crashes: int = 0
    began_at: float = 0.0
    died_at: float | None = None

    @property
    def ended(self) -> bool:
        """It has no life, and by itself gets no other."""
        return self.state in ("finished", "dead")

    @property
    def settled(self) -> bool:
        """Nothing more is to be expected of its state: one that was just hurt is still to die."""
        return self.ended or (self.state == "up" and not self.hurt)

    def begins(self, life: int, now_s: float) -> None:
        self.state, self.life, self.hurt, self.began_at = "up", life, False, now_s

    def dies(self, now_s: float) -> None:
        self.died_at = now_s
        if now_s - self.began_at > _LONG_LIFE_S:
            self.crashes = 0

    def crash_backoff_s(self) -> float | None:
        """Seconds until it is started again after a death by itself; None when it is given up."""
        self.crashes += 1
        if self.crashes > self.crashes_in_a_row:
            return None
        backoff_s: float = _FIRST_BACKOFF_S * 2.0 ** (self.crashes - 1)
        return min(_LONGEST_BACKOFF_S, backoff_s)
