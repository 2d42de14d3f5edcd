"""As much as a broker takes."""

import socket
import struct


class Flood:
    """Raw MQTT 5 at QoS 1, as fast as the broker confirms."""

    def __init__(self, broker, user=None):
        self.socket = socket.create_connection(("127.0.0.1", broker.port))
        word = lambda text: struct.pack(">H", len(text)) + text.encode()
        names = word(user) + word(f"{user} secret") if user else b""
        rest = word("MQTT") + bytes([5, 0xC2 if user else 2, 0, 60, 0]) + word("flood") + names
        self.socket.sendall(b"\x10" + length(len(rest)) + rest)
        assert self.socket.recv(64)[0] == 0x20

    def publish(self, topic, bodies, window=2000):
        """Each of `bodies`; ends when all are confirmed."""
        head = struct.pack(">H", len(topic)) + topic
        out, sent, confirmed, buffer = bytearray(), 0, 0, b""
        for body in bodies:
            sent += 1
            rest = head + struct.pack(">H", sent % 60_000 + 1) + b"\0" + body
            out += b"\x32" + length(len(rest)) + rest
            if sent % 500 == 0:
                self.socket.sendall(out)
                out.clear()
                while sent - confirmed > window:
                    count, buffer = self._acks(buffer)
                    confirmed += count
        self.socket.sendall(out)
        while confirmed < sent:
            count, buffer = self._acks(buffer)
            confirmed += count

    def _acks(self, buffer):
        received = self.socket.recv(1 << 16)
        if not received:
            raise ConnectionResetError("the broker has had enough")
        buffer += received
        count, at = 0, 0
        while at + 2 <= len(buffer) and at + 2 + buffer[at + 1] <= len(buffer):
            count += buffer[at] == 0x40
            at += 2 + buffer[at + 1]
        return count, buffer[at:]

    def close(self):
        self.socket.close()


def length(count):
    out = b""
    while True:
        count, byte = divmod(count, 128)
        out += bytes([byte | (0x80 if count else 0)])
        if not count:
            return out
