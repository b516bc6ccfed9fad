from hypothesis import given
from hypothesis import strategies as st

from model.seeds import derive_seed

PARTS = st.lists(st.integers() | st.text(), max_size=4)


@given(PARTS)
def test_derive_seed_any_parts_gives_an_unsigned_32_bit_integer(parts: list[int | str]) -> None:
    assert 0 <= derive_seed(*parts) < 2**32


@given(PARTS, PARTS)
def test_derive_seed_other_parts_gives_another_seed(
    left: list[int | str], right: list[int | str]
) -> None:
    assert (derive_seed(*left) == derive_seed(*right)) == (left == right)


def test_derive_seed_known_parts_gives_the_recorded_seed() -> None:
    assert derive_seed(42, "epoch", 3) == 3845750074


def test_derive_seed_number_and_its_text_differ() -> None:
    assert derive_seed(1) != derive_seed("1")
