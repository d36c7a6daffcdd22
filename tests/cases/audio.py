"""Rows of spectrograms."""

from tests.cases.case import Case

SOUND = (2, 40, 2)  # B T C
SHORT = {"frame_length": 8, "frame_step": 4}
MEL = {"fft_length": 16, "sequence_stride": 4, "sampling_rate": 8000, "num_mel_bins": 5}

ROWS = [
    Case("STFTSpectrogram", SHORT, SOUND),
    Case("STFTSpectrogram", {**SHORT, "mode": "psd", "fft_length": 16, "periodic": True}, SOUND),
    Case("STFTSpectrogram", {**SHORT, "mode": "stft", "expand_dims": True}, SOUND),
    Case(
        "STFTSpectrogram",
        {"frame_length": 8, "mode": "imag", "padding": "same", "window": None},
        SOUND,
    ),
    Case(
        "STFTSpectrogram",
        {**SHORT, "mode": "magnitude", "data_format": "channels_first", "window": "hamming"},
        (2, 2, 40),
    ),
    Case(
        "MelSpectrogram",
        {**MEL, "sequence_length": 9, "power_to_db": False, "mag_exp": 1.0, "window": "hamming"},
        (3, 24),
    ),
    Case("MelSpectrogram", {**MEL, "top_db": 5.0, "ref_power": 3.0, "min_freq": 90.0}, (2, 24)),
]
