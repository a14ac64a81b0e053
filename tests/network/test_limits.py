"""Token bucket and outbox."""

from fedcoin_cli.network.transport.limits import (
    BARRED_MOST_S,
    BARRED_S,
    EXCESS_BYTES,
    Bars,
    Bucket,
    Limits,
    Outbox,
    SilenceLimit,
)
from ledger_store.base.names import Address

A, B = Address("a"), Address("b")

SMALL = Limits(
    frame_bytes=10, pipe_frames=1, waiting_frames=3, waiting_bytes=10, frames_per_s=1, burst_frames=1
)


def sent(outbox: Outbox) -> list[bytes]:
    frames: list[bytes] = []

    def take(frame: bytes) -> bool:
        frames.append(frame)
        return True

    outbox.drain(take)
    return frames


def test_bucket_allows_a_burst_then_its_rate() -> None:
    """Three at once, then two a second, and never more than the burst after a long rest [P-11.12]."""
    bucket = Bucket(2, 3, now_s=100.0)
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(100.5), bucket.take(100.5)] == [True, False]
    assert [bucket.take(999.0) for _ in range(4)] == [True, True, True, False]


def test_outbox_drops_the_oldest_by_count_and_by_size() -> None:
    """What is newest survives, and what went is counted [P-11.13]."""
    outbox = Outbox(SMALL)
    for frame in (b"1", b"2", b"3", b"4"):
        outbox.push(frame)
    assert (sent(outbox), outbox.dropped) == ([b"2", b"3", b"4"], 1)
    outbox.push(b"a" * 6)
    outbox.push(b"b" * 6)
    assert (sent(outbox), outbox.dropped) == ([b"b" * 6], 2)


def test_outbox_keeps_what_is_not_taken() -> None:
    """A send that refuses leaves the frame in its place, and its bytes still count."""
    outbox = Outbox(SMALL)
    outbox.push(b"a" * 6)
    outbox.drain(lambda _: False)
    outbox.push(b"b" * 6)
    assert (len(outbox), sent(outbox)) == (1, [b"b" * 6])


def test_who_is_connected_and_silent_is_told_once_a_span() -> None:
    """Only after the span, not when it was heard or is not connected, and not by one who did not listen itself."""
    silence = SilenceLimit(10.0)
    assert silence.turn([], [A, B], 0.0) == []
    assert silence.turn([B], [A, B], 4.0) == []
    assert silence.turn([], [A, B], 8.0) == []
    assert silence.turn([Address("stranger")], [A, B], 11.0) == [A]
    assert silence.turn([], [A], 15.0) == []
    assert silence.turn([], [A, B], 30.0) == []
    assert silence.turn([], [A, B], 34.0) == []


def test_the_last_rank_goes_first_when_too_much_waits_and_leaves_last() -> None:
    """No vote is dropped for what may come later, whatever came first [P-11.13]."""
    outbox = Outbox(SMALL)
    for frame, rank in ((b"v", 0), (b"t", 2), (b"b", 3), (b"w", 0), (b"x", 0)):
        outbox.push(frame, rank)
    assert (sent(outbox), outbox.dropped) == ([b"v", b"w", b"x"], 2)
    for frame, rank in ((b"b", 3), (b"t", 2), (b"v", 0)):
        outbox.push(frame, rank)
    assert sent(outbox) == [b"v", b"t", b"b"]


def test_a_bucket_weighs() -> None:
    """What costs more than there is leaves the bucket as it was."""
    bucket = Bucket(2, 10, now_s=0.0)
    assert [bucket.take(0.0, cost) for cost in (7, 4, 3)] == [True, False, True]
    assert bucket.take(1.0, 2)


def test_a_little_too_much_is_forgiven_and_much_is_not() -> None:
    """Each time out is twice as long as the last, up to the longest; who behaved for that long begins anew."""
    bars, now_s, terms = Bars(), 0.0, []
    assert not bars.over(A, EXCESS_BYTES, now_s)
    for _ in range(8):
        assert bars.over(A, EXCESS_BYTES + 1, now_s)
        assert not bars.over(A, EXCESS_BYTES + 1, now_s)  # kept out already
        assert not bars.over(B, 1, now_s)
        began_s = now_s
        while not (free := bars.ended(now_s)):
            now_s += 1
        assert free == [A]
        terms.append(now_s - began_s)
    assert terms == [10, 20, 40, 80, 160, 320, 600, 600]
    assert bars.ended(now_s) == []
    now_s += BARRED_MOST_S
    assert not bars.over(A, EXCESS_BYTES, now_s)
    assert bars.over(A, EXCESS_BYTES, now_s)
    assert bars.ended(now_s + BARRED_S) == [A]
