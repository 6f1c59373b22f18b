import pytest

from shared import errors
from shared.errors import ConfigError, InputError, WinnowError


def test_the_tree_in_the_docstring_is_the_tree_in_the_code() -> None:
    found = {name for name, kind in vars(errors).items() if isinstance(kind, type)}

    drawn = {word for word in (errors.__doc__ or "").split() if word.endswith("Error")}
    assert found == drawn
    assert all(issubclass(getattr(errors, name), WinnowError) for name in found)


@pytest.mark.parametrize("kind", [ConfigError, InputError])
def test_an_error_with_several_problems_keeps_them_apart(kind: type[ConfigError]) -> None:
    assert kind("one").problems == ("one",)
    assert kind("one\ntwo", problems=("one", "two")).problems == ("one", "two")
