"""Who may connect, by transport key."""

from nacl.public import PrivateKey

from fedcoin_cli.network.transport.admission import Admission, transport_public, transport_secret
from ledger_store.base.names import Address
from ledger_store.identity.keys import KeyPair


def negative(address: Address) -> Address:
    """The address of the negative point: the sign bit of the last byte flipped."""
    raw = bytearray.fromhex(address)
    raw[31] ^= 0x80
    return Address(raw.hex())


def table_key(address: Address) -> bytes:
    key = transport_public(address)
    assert key is not None
    return key


def test_secret_and_public_transport_key_belong_together() -> None:
    """The X25519 key from the seed has the public key that others compute from the address [P-2.5]."""
    key = KeyPair.generate()
    assert PrivateKey(transport_secret(key)).public_key.encode() == transport_public(key.address)


def test_guests_come_and_go_while_members_stay() -> None:
    """A new list of guests replaces the old one and never touches a member."""
    member, first, second = (KeyPair.generate().address for _ in range(3))
    admission = Admission([member])
    admission.admit([first])
    admission.admit([second])
    assert [admission.admits(address) for address in (member, first, second)] == [True, False, True]
    assert admission.address_of(table_key(second)) == second
    assert admission.address_of(table_key(first)) is None
    assert admission.is_member(member)
    assert not admission.is_member(second)


def test_the_negative_of_a_members_key_does_not_take_its_name() -> None:
    """Coins sent to the negative of an address share its transport key; its owner keeps the name."""
    member, guest = KeyPair.generate().address, KeyPair.generate().address
    admission = Admission([member])
    admission.admit([Address(negative(member)), guest, Address(negative(guest))])
    assert table_key(Address(negative(member))) == table_key(member)
    assert admission.address_of(table_key(member)) == member
    assert admission.address_of(table_key(guest)) == guest


def test_an_address_that_is_no_key_is_passed_over() -> None:
    """Anyone can send coins to 64 arbitrary characters; that must not stop a node."""
    admission = Admission([])
    admission.admit([Address("00" * 32), Address("ff" * 32), Address("x")])
    assert transport_public("00" * 32) is None
    assert not admission.admits(Address("ff" * 32))


def test_one_by_one() -> None:
    """A guest comes and goes without a new list; no member goes, and who signed wins over its own negative."""
    member, guest = KeyPair.generate().address, KeyPair.generate().address
    admission = Admission([member])
    admission.come(Address(negative(guest)), signed=False)
    admission.come(guest, signed=False)
    assert admission.address_of(table_key(guest)) == negative(guest)
    admission.come(guest, signed=True)
    admission.come(Address(negative(guest)), signed=False)
    assert admission.address_of(table_key(guest)) == guest
    admission.gone(Address(negative(guest)))
    assert admission.admits(guest)
    admission.gone(guest)
    assert not admission.admits(guest)
    admission.come(Address(negative(member)), signed=True)
    admission.gone(member)
    admission.come(Address("ff" * 32), signed=True)
    assert admission.address_of(table_key(member)) == member


def test_a_guest_that_is_kept_out_and_a_member_that_is_not() -> None:
    """New lists of guests do not let it in, nor does its negative; when its time is over the ledger decides again."""
    member, guest = KeyPair.generate().address, KeyPair.generate().address
    admission = Admission([member])
    admission.admit([guest])
    for one in (member, negative(member), guest):
        admission.bar(one)
    admission.admit([guest, negative(guest)])
    assert [admission.admits(one) for one in (member, guest, negative(guest))] == [True, False, False]
    assert admission.address_of(table_key(guest)) is None
    admission.unbar(guest)
    assert admission.admits(guest)
    admission.bar(Address("no key"))
