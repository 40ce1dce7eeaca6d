"""The system's libopus through ctypes: one encoder and one decoder class."""

import ctypes
import ctypes.util

FRAME_SAMPLES = 960
MAX_PACKET_LEN = 1275

# opus_defines.h and, for the forced mode, opus_private.h.
APPLICATION_AUDIO = 2049
SET_BITRATE = 4002
SET_BANDWIDTH = 4008
SET_COMPLEXITY = 4010
SET_FORCE_CHANNELS = 4022
GET_LOOKAHEAD = 4027
SET_EXPERT_FRAME_DURATION = 4040
FRAMESIZE_20_MS = 5004
SET_FORCE_MODE = 11002

MODE_SILK, MODE_HYBRID, MODE_CELT = 1000, 1001, 1002
WIDEBAND, SUPERWIDEBAND, FULLBAND = 1103, 1104, 1105


def _load():
    name = ctypes.util.find_library("opus")
    if name is None:
        raise OSError("libopus is not installed (apt package libopus0)")
    library = ctypes.CDLL(name)
    library.opus_get_version_string.restype = ctypes.c_char_p
    library.opus_strerror.restype = ctypes.c_char_p
    for name in ("opus_encoder_create", "opus_decoder_create"):
        getattr(library, name).restype = ctypes.c_void_p
    for name in ("opus_encoder_destroy", "opus_decoder_destroy"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
    return library


_LIBRARY = _load()


def version():
    """What libopus calls itself, for example `libopus 1.3.1`."""
    return _LIBRARY.opus_get_version_string().decode()


def _check(code):
    if code < 0:
        raise RuntimeError("libopus: " + _LIBRARY.opus_strerror(code).decode())
    return code


class Encoder:
    """A 48 kHz stereo encoder of 20 ms frames."""

    def __init__(self):
        error = ctypes.c_int()
        self._state = ctypes.c_void_p(
            _LIBRARY.opus_encoder_create(48_000, 2, APPLICATION_AUDIO, ctypes.byref(error))
        )
        _check(error.value)
        self.set(SET_COMPLEXITY, 10)
        self.set(SET_FORCE_CHANNELS, 2)
        self.set(SET_EXPERT_FRAME_DURATION, FRAMESIZE_20_MS)

    def __del__(self):
        _LIBRARY.opus_encoder_destroy(self._state)

    def set(self, request, value):
        """One `OPUS_SET_*` request."""
        _check(_LIBRARY.opus_encoder_ctl(self._state, ctypes.c_int(request), ctypes.c_int32(value)))

    def lookahead(self):
        """The encoder's delay in 48 kHz samples: the stream's pre-skip."""
        value = ctypes.c_int32()
        _check(
            _LIBRARY.opus_encoder_ctl(
                self._state, ctypes.c_int(GET_LOOKAHEAD), ctypes.byref(value)
            )
        )
        return value.value

    def encode(self, pcm):
        """Encodes 20 ms of interleaved little-endian 16-bit stereo."""
        assert len(pcm) == FRAME_SAMPLES * 2 * 2
        out = ctypes.create_string_buffer(MAX_PACKET_LEN)
        written = _LIBRARY.opus_encode(
            self._state, ctypes.c_char_p(pcm), FRAME_SAMPLES, out, ctypes.c_int32(MAX_PACKET_LEN)
        )
        return out.raw[: _check(written)]


class Decoder:
    """A 48 kHz stereo decoder."""

    def __init__(self):
        error = ctypes.c_int()
        self._state = ctypes.c_void_p(
            _LIBRARY.opus_decoder_create(48_000, 2, ctypes.byref(error))
        )
        _check(error.value)

    def __del__(self):
        _LIBRARY.opus_decoder_destroy(self._state)

    def decode(self, packet):
        """The packet's samples as interleaved 16-bit stereo bytes."""
        out = ctypes.create_string_buffer(5760 * 2 * 2)
        count = _LIBRARY.opus_decode(
            self._state, ctypes.c_char_p(packet), ctypes.c_int32(len(packet)), out, 5760, 0
        )
        return out.raw[: _check(count) * 4]
