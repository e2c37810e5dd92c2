"""The binary tables of apk-tools 3 ("ADB"): little-endian words whose upper four bits say what the
rest means, a small number or where the value lies. Described in apk-v3(5).

Equal values are stored once, and everything stands in the order in which it is put, so that one
input has one encoding: that of `apk mkpkg`.
"""
import struct

INT, INT32, INT64 = 0x10000000, 0x20000000, 0x30000000
# By the width of the length in front.
BLOBS = ((1, "<B", 0x80000000), (2, "<H", 0x90000000), (4, "<I", 0xA0000000))
OBJECT = 0xE0000000
NULL = 0
# A word has this many bits for where a value lies.
SIZE_MAX = 1 << 28
BLOCK_ADB, BLOCK_DATA = 0, 2
BLOCK_MAX = (1 << 30) - 1


class Adb:
    def __init__(self):
        # Two versions of the format, both 0, and the root.
        self.data = bytearray(8)
        self.stored = {}

    def _put(self, value, alignment, shared=True):
        place = self.stored.get(value) if shared else None
        if place is None or place % alignment:
            self.data += bytes(-len(self.data) % alignment)
            place = len(self.data)
            self.data += value
            if shared:
                self.stored[value] = place
        if len(self.data) > SIZE_MAX:
            raise ValueError("the table is too large")
        return place

    def int(self, value):
        if value < 1 << 28:
            return INT | value
        if value < 1 << 32:
            return INT32 | self._put(struct.pack("<I", value), 4)
        return INT64 | self._put(struct.pack("<Q", value), 4)

    def blob(self, value, shared=True):
        """Bytes or text; nothing at all is NULL."""
        value = value.encode() if isinstance(value, str) else value
        if not value:
            return NULL
        for width, form, tag in BLOBS:
            if len(value) < 1 << 8 * width:
                return tag | self._put(struct.pack(form, len(value)) + value, width, shared)
        raise ValueError("the value is too large")

    def object(self, values):
        """Words by their number, from 1. Lists are written so, too."""
        words = list(values)
        while words and words[-1] == NULL:
            words.pop()
        if not words:
            return NULL
        return OBJECT | self._put(struct.pack(f"<{len(words) + 1}I", len(words) + 1, *words), 4)

    def fields(self, numbers, words):
        """An object of which only the fields in `words`, by name, are there."""
        last = max(numbers.values())
        named = {numbers[name]: word for name, word in words.items()}
        return self.object(named.get(number, NULL) for number in range(1, last + 1))

    def root(self, word):
        struct.pack_into("<I", self.data, 4, word)


def block(kind, payload):
    """A block of a file: its kind and size, the payload, padding to 8 bytes."""
    size = 4 + len(payload)
    if size > BLOCK_MAX:
        raise ValueError("the block is too large")
    return struct.pack("<I", kind << 30 | size) + payload + bytes(-size % 8)
