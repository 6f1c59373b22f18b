"""What the reference set says of one class: kept with the round, so that it can be read without measuring again."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClassBounds:
    """What one class's IoU is on the reference set, and within which bounds it is likely to be on the line.

    Attributes:
        patches: How many reference patches hold the class.
        value: None where neither truth nor prediction holds it.
        low: None for fewer than four patches.
        high: The same.
    """

    patches: int
    value: float | None
    low: float | None = None
    high: float | None = None
