import pytest
from chains import key

from ledger_store.base.names import Address, BlockId, GenesisId
from ledger_store.identity.keys import KeyPair, verify, verify_bytes

# RFC 8032, 7.1: secret key, public key, message, signature.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
            "d25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
            "387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
            "4a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
]
GENESIS, OTHER_GENESIS = GenesisId(BlockId("11" * 32)), GenesisId(BlockId("22" * 32))
# The group's order: adding it to S gives a second valid equation for the same signature.
ORDER = 2**252 + 27742317777372353535851937790883648493


@pytest.mark.parametrize(("secret", "public", "message", "signature"), RFC_8032)
def test_vectors_of_rfc_8032(secret: str, public: str, message: str, signature: str) -> None:
    """The address is the RFC's public key, its signature verifies, and no other message does [P-2.1]."""
    assert KeyPair(bytes.fromhex(secret)).address == public
    assert verify_bytes(Address(public), bytes.fromhex(message), signature)
    assert not verify_bytes(Address(public), bytes.fromhex(message) + b"!", signature)


def test_a_signature_has_one_form() -> None:
    """S + L is refused: nobody can make a second signature, and so a second file, from a first one [P-2.3]."""
    _, public, message, signature = RFC_8032[1]
    scalar = int.from_bytes(bytes.fromhex(signature)[32:], "little") + ORDER
    forged = signature[:64] + scalar.to_bytes(32, "little").hex()
    assert not verify_bytes(Address(public), bytes.fromhex(message), forged)


def test_a_signature_is_bound_to_kind_network_and_fields() -> None:
    """What is signed as one kind, in one network, over some fields, is worth nothing elsewhere [P-2.2]."""
    signer, fields = key("a"), {"height": 1}
    signature = signer.sign("notar", GENESIS, fields)
    assert verify(signer.address, "notar", GENESIS, fields, signature)
    assert not verify(signer.address, "final", GENESIS, fields, signature)
    assert not verify(signer.address, "notar", OTHER_GENESIS, fields, signature)
    assert not verify(signer.address, "notar", GENESIS, {"height": 2}, signature)
    assert not verify(key("b").address, "notar", GENESIS, fields, signature)


@pytest.mark.parametrize("address", ["00" * 32, "01" + "00" * 31, "ff" * 32, "zz", "", "aa" * 31])
def test_addresses_that_are_no_keys_sign_nothing(address: Address) -> None:
    """Small-order points, points off the curve and text of a wrong length verify nothing and do not crash [P-2.3]."""
    assert not verify(address, "final", GENESIS, {}, "00" * 64)


def test_generated_keys_differ() -> None:
    """Fresh keys come from the system's randomness."""
    assert KeyPair.generate().address != KeyPair.generate().address
