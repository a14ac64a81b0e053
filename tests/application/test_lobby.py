"""Where guests' frames wait."""

from fedcoin_cli.application.node.lobby import LINE_BYTES, LINE_FRAMES, REST_MS, TURNS_A_S, GuestTurns, Lobby
from ledger_store.base.names import Address

A = Address("a")
B = Address("b")


def test_lines_are_served_in_turn() -> None:
    """One who sends much waits behind himself: the other's only frame is the second that is served."""
    lobby = Lobby()
    for frame in (b"1", b"2", b"3"):
        assert lobby.push(A, frame)
    lobby.push(B, b"4")
    assert [lobby.pop() for _ in range(4)] == [("a", b"1"), ("b", b"4"), ("a", b"2"), ("a", b"3")]
    assert not lobby


def test_a_line_is_bounded_by_frames_and_bytes() -> None:
    """What does not fit is dropped, and there is room again when something was served."""
    lobby = Lobby()
    assert all(lobby.push(A, b"") for _ in range(LINE_FRAMES))
    assert not lobby.push(A, b"")
    assert lobby.push(B, bytes(LINE_BYTES))
    assert not lobby.push(B, b"1")
    for _ in range(2):
        lobby.pop()
    assert lobby.push(A, b"")
    assert lobby.push(B, b"1")


def test_turns_for_guests_alone_are_bounded() -> None:
    """Fifty at once and fifty a second are free; after more, frames gather for 10 ms, unless a miner spoke."""
    turns, guests, both = GuestTurns([B], 1_000), [(A, b"")], [(A, b""), (B, b"")]
    assert [turns.rest_ms(guests, 1_000) for _ in range(TURNS_A_S + 2)] == [0] * TURNS_A_S + [REST_MS] * 2
    assert turns.rest_ms(both, 1_000) == turns.rest_ms([], 1_000) == 0
    assert [turns.rest_ms(guests, 1_100) for _ in range(7)] == [0] * 5 + [REST_MS] * 2
