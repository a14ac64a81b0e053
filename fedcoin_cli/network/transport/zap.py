"""ZeroMQ's question whether a key may connect (ZAP), answered from the table of admitted addresses."""

from typing import Any

import zmq
from zmq.auth import Authenticator
from zmq.utils import z85

from fedcoin_cli.network.transport.admission import Admission


class Zap(Authenticator):
    """Answers ZeroMQ's "may this key connect?" from the table, within the caller's own loop [P-11.4]."""

    def __init__(self, context: "zmq.Context[Any]", admission: Admission, domain: str) -> None:
        super().__init__(context)
        self._admission, self._domain = admission, domain
        self.configure_curve_callback(domain, credentials_provider=self)

    def callback(self, domain: str, key: bytes) -> bool:
        """Called by the base class with the Z85 text of the key."""
        return domain == self._domain and self._admission.address_of(z85.decode(key)) is not None

    def curve_user_id(self, client_public_key: bytes) -> str:
        """What the frames of this connection will carry as User-Id."""
        # The table may have changed since the question; no frame may be without a User-Id.
        return self._admission.address_of(client_public_key) or "nobody"

    def answer_all(self) -> None:
        """Answer the questions that wait. The coroutine awaits nothing: one step runs it to its end."""
        while self.zap_socket.poll(0):
            coroutine = self.handle_zap_message(self.zap_socket.recv_multipart())
            try:
                coroutine.send(None)
            except StopIteration:
                continue
