"""What a clip decodes to, what is said of a bad one, and its Opus copy."""

import io
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from sounds import CODECS, Samples, encoded, id3v1, id3v2, resample, silence, speech, tone, video

from audioctl.audio.decode import ClipDecoder, UnusableClipError
from audioctl.audio.opus import OpusWriter
from audioctl.clips import SAMPLE_RATE
from audioctl.errors import ScratchError
from audioctl.states import Reason


def decode(content: bytes | Path, name: str = "a.mp3") -> tuple[Samples, bool]:
    decoder = ClipDecoder(content, name)
    samples = np.concatenate(list(decoder.blocks()))
    return samples, decoder.truncated


def why_unusable(content: bytes, name: str) -> Reason:
    with pytest.raises(UnusableClipError) as caught:
        decode(content, name)
    return caught.value.reason


def loudness(samples: Samples) -> float:
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))


def wav(samples: npt.NDArray[Any], rate: int, subtype: str = "PCM_16") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype=subtype)
    return file.getvalue()


@pytest.mark.parametrize("suffix", [*CODECS, "ogg"])
@pytest.mark.parametrize("channels", [1, 2])
def test_every_format_decodes_whole_whatever_it_is_called(suffix: str, channels: int) -> None:
    content = encoded(tone(3, rate=48_000), suffix, rate=48_000, channels=channels)
    samples, truncated = decode(content, "no-ending")
    assert samples.dtype == np.int16
    assert len(samples) == pytest.approx(3 * SAMPLE_RATE, abs=0.12 * SAMPLE_RATE)
    assert loudness(samples) == pytest.approx(loudness(tone(3)), rel=0.1)
    assert not truncated


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_every_rate_becomes_16_khz(rate: int) -> None:
    samples, _ = decode(wav(tone(2, rate), rate), "a.wav")
    spectrum = np.abs(np.fft.rfft(samples[: 2 * SAMPLE_RATE]))
    assert len(samples) == pytest.approx(2 * SAMPLE_RATE, abs=1)
    assert spectrum.argmax() / 2 == pytest.approx(440, abs=1)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "FLOAT", "DOUBLE", "ULAW", "IMA_ADPCM"])
def test_every_kind_of_wav_sample_is_heard(subtype: str) -> None:
    samples, truncated = decode(wav(tone(1) / 32768, SAMPLE_RATE, subtype), "a.wav")
    assert loudness(samples) == pytest.approx(loudness(tone(1)), rel=0.05)
    assert not truncated


def test_the_channels_of_a_stereo_clip_are_mixed() -> None:
    left_only = np.stack([tone(1), silence(1)], axis=1)
    samples, _ = decode(wav(left_only, SAMPLE_RATE), "a.wav")
    assert loudness(samples) == pytest.approx(loudness(tone(1)) / 2, rel=0.01)


def test_a_spooled_clip_decodes_as_one_in_memory(tmp_path: Path) -> None:
    content = encoded(speech(), "mp3")
    spooled = tmp_path / "member"
    spooled.write_bytes(content)
    assert np.array_equal(decode(spooled)[0], decode(content)[0])


@pytest.mark.parametrize("suffix", ["mp3", "wav", "flac", "ogg", "opus", "aac", "webm", "aiff", "mka"])
@pytest.mark.parametrize("share", [0.4, 0.8])
def test_a_clip_that_is_cut_off_keeps_what_decodes(suffix: str, share: float) -> None:
    content = encoded(np.tile(speech(), 4), suffix, rate=48_000)
    whole, _ = decode(content)
    kept, truncated = decode(content[: round(share * len(content))])
    assert truncated
    assert (share - 0.2) * len(whole) < len(kept) < (share + 0.1) * len(whole)


def test_an_m4a_that_is_cut_off_behind_its_index_keeps_what_decodes(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(tone(5), SAMPLE_RATE))
    command = ["ffmpeg", "-v", "error", "-i", "a.wav", "-movflags", "+faststart", "a.m4a"]
    subprocess.run(command, cwd=tmp_path, check=True)
    content = (tmp_path / "a.m4a").read_bytes()
    assert not decode(content)[1]
    kept, truncated = decode(content[: len(content) // 2])
    assert truncated
    assert SAMPLE_RATE < len(kept) < 4 * SAMPLE_RATE


def test_an_m4a_that_has_lost_its_index_is_undecodable() -> None:
    content = encoded(tone(5), "m4a")
    assert why_unusable(content[: len(content) // 2], "a.m4a") is Reason.UNDECODABLE


@pytest.mark.parametrize("arguments", [["-write_xing", "0"], ["-q:a", "4"], ["-write_id3v1", "1"]])
def test_a_healthy_mp3_is_not_called_cut_off(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(tone(5, 44_100), 44_100))
    metadata = ["-metadata", "title=Title"]
    command = ["ffmpeg", "-v", "error", "-i", "a.wav", *arguments, *metadata, "a.mp3"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert not decode(tmp_path / "a.mp3")[1]


@pytest.mark.parametrize("container", ["wav", "mp3", "flac", "webm", "ogg", "aiff", "au"])
def test_a_file_written_to_a_pipe_is_not_called_cut_off(container: str) -> None:
    command = ["ffmpeg", "-v", "error", "-i", "-", "-f", container, "-"]
    content = subprocess.run(command, input=wav(tone(3), SAMPLE_RATE), check=True, capture_output=True).stdout
    samples, truncated = decode(content)
    assert len(samples) == pytest.approx(3 * SAMPLE_RATE, abs=0.1 * SAMPLE_RATE)
    assert not truncated


def test_a_flipped_byte_costs_little_of_an_mp3() -> None:
    content = bytearray(encoded(np.tile(speech(), 4), "mp3"))
    whole, _ = decode(bytes(content))
    middle = len(content) // 2
    content[middle : middle + 50] = bytes(50)
    assert len(decode(bytes(content))[0]) > 0.9 * len(whole)


def test_a_video_called_mp3_gives_its_sound() -> None:
    samples, _ = decode(video(tone(1)), "a.mp3")
    assert loudness(samples) == pytest.approx(loudness(tone(1)), rel=0.1)


@pytest.mark.parametrize(
    ("content", "name", "reason"),
    [
        (b"", "a.mp3", Reason.EMPTY),
        (id3v2(b"Title"), "a.mp3", Reason.EMPTY),
        (id3v2(b"Title", padding=2000) + id3v1(b"Title"), "a.mp3", Reason.EMPTY),
        (wav(silence(0), SAMPLE_RATE), "a.wav", Reason.EMPTY),
        (b"This is no sound.\n" * 100, "a.mp3", Reason.UNDECODABLE),
        (b"This is no sound.\n", "A.MP3", Reason.UNDECODABLE),
        (video(None), "a.mp3", Reason.UNDECODABLE),
        (b"This is no sound.\n" * 100, "README.txt", Reason.NOT_AUDIO),
        ("This is no sound.\n".encode("utf-16") * 100, "README.txt", Reason.NOT_AUDIO),
        (b"", "README", Reason.NOT_AUDIO),
        (b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(2000), "cover.jpg", Reason.NOT_AUDIO),
    ],
)
def test_what_cannot_be_used_says_why(content: bytes, name: str, reason: Reason) -> None:
    assert why_unusable(content, name) is reason


def test_noise_is_not_taken_for_sound() -> None:
    noise = np.random.default_rng(0).bytes(100_000)
    assert why_unusable(noise, "a.mp3") is Reason.UNDECODABLE
    assert why_unusable(noise, "a.bin") is Reason.NOT_AUDIO


def test_a_play_list_cannot_reach_other_files(tmp_path: Path) -> None:
    target = tmp_path / "private.wav"
    target.write_bytes(wav(tone(1), SAMPLE_RATE))
    lists = [
        f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://{target}\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile {target}\n",
    ]
    for play_list in lists:
        assert why_unusable(play_list.encode(), "a.mp3") is Reason.UNDECODABLE


def test_the_details_are_words() -> None:
    with pytest.raises(UnusableClipError) as caught:
        decode(video(None))
    assert caught.value.detail == "no audio track"


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_one_sample_is_a_clip(rate: int) -> None:
    samples, truncated = decode(wav(tone(1, rate)[1:2], rate), "a.wav")
    assert len(samples) == 1
    assert not truncated


@pytest.mark.parametrize("tag", [id3v2("Übergröße".encode("latin-1")), id3v2(b"\xff\xfe\xfd")])
def test_a_tag_in_any_encoding_loses_no_sound(tag: bytes) -> None:
    plain = encoded(speech(), "mp3")
    samples, _ = decode(tag + plain + id3v1("Übergröße".encode("latin-1")))
    assert len(samples) == pytest.approx(len(speech()), abs=0.1 * SAMPLE_RATE)


def test_latin_1_metadata_of_other_formats_loses_no_sound() -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="matroska", metadata_errors="surrogateescape") as container:
        container.metadata["title"] = "Latin-1"
        stream = container.add_stream("flac", rate=SAMPLE_RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone(1)[np.newaxis], format="s16", layout="mono")
        frame.sample_rate, frame.pts = SAMPLE_RATE, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    content = file.getvalue().replace(b"Latin-1", b"L\xe4tin-1")
    assert b"L\xe4tin-1" in content
    assert len(decode(content)[0]) == SAMPLE_RATE


def write_opus(path: Path, samples: Samples) -> OpusWriter:
    with OpusWriter(path) as writer:
        for start in range(0, len(samples), 10_007):
            writer.write(samples[start : start + 10_007])
    return writer


def test_the_same_samples_give_the_same_opus_file(tmp_path: Path) -> None:
    first, second = write_opus(tmp_path / "1", speech()), write_opus(tmp_path / "2", speech())
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
    assert first.sha256 == second.sha256


def test_an_opus_file_knows_its_size_and_digest(tmp_path: Path) -> None:
    writer = write_opus(tmp_path / "a.opus", speech())
    digest = subprocess.run(["sha256sum", tmp_path / "a.opus"], check=True, capture_output=True, text=True)
    assert digest.stdout.split()[0] == writer.sha256
    assert (tmp_path / "a.opus").stat().st_size == writer.size_bytes


@pytest.mark.parametrize("length", [1, 319, 320, 16_000, 100_007])
def test_an_opus_copy_is_as_long_as_its_clip(length: int, tmp_path: Path) -> None:
    write_opus(tmp_path / "a.opus", np.resize(speech(), length))
    samples, truncated = decode(tmp_path / "a.opus", "a.opus")
    assert len(samples) == length
    assert not truncated


def test_an_opus_copy_sounds_like_its_clip(tmp_path: Path) -> None:
    original = speech()
    write_opus(tmp_path / "a.opus", original)
    copy, _ = decode(tmp_path / "a.opus", "a.opus")
    # Opus filters the lowest and highest tones and shifts phases; the envelope stays.
    frames = len(original) // 320
    envelopes = [np.abs(s[: frames * 320].astype(float)).reshape(frames, 320).mean(1) for s in (original, copy)]
    assert np.corrcoef(*envelopes)[0, 1] > 0.98


def test_an_opus_file_has_its_name_only_when_it_is_complete(tmp_path: Path) -> None:
    class FailureError(Exception):
        pass

    def write_and_fail() -> None:
        with OpusWriter(tmp_path / "a.opus") as writer:
            writer.write(speech())
            assert not (tmp_path / "a.opus").exists()
            raise FailureError

    with pytest.raises(FailureError):
        write_and_fail()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seconds", [1, 600])
def test_a_full_disk_is_a_fault_of_scratch(seconds: int, tmp_path: Path) -> None:
    (tmp_path / "a.opus.part").symlink_to("/dev/full")
    with pytest.raises(ScratchError, match="No space left"):
        write_opus(tmp_path / "a.opus", np.resize(speech(), seconds * SAMPLE_RATE))
    assert not (tmp_path / "a.opus").exists()


def test_a_scratch_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScratchError, match=r"missing/a\.opus"):
        write_opus(tmp_path / "missing" / "a.opus", tone(1))


def test_a_clip_of_three_hours_needs_little_memory(tmp_path: Path) -> None:
    seconds = 3 * 3600
    with soundfile.SoundFile(tmp_path / "a.flac", "w", SAMPLE_RATE, 1, format="FLAC") as file:
        for _ in range(seconds // 60):
            file.write(silence(60))
    program = f"""
        import resource
        from pathlib import Path
        from audioctl.audio.decode import ClipDecoder
        from audioctl.audio.speech import SpeechFinder

        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

        before, length, finder = peak(), 0, SpeechFinder(0)
        for samples in ClipDecoder(Path({str(tmp_path / "a.flac")!r}), "a.flac").blocks():
            length += len(samples)
            finder.push(samples)
        print(length, len(finder.finish()), peak() - before)
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], check=True, capture_output=True, text=True
    )
    length, windows, grown_megabytes = map(int, result.stdout.split())
    assert length == seconds * SAMPLE_RATE
    assert windows == 0
    assert grown_megabytes < 60  # the whole clip is 345 MB as int16


def test_resampling_in_blocks_is_resampling_at_once() -> None:
    """More than one block of what soundfile hands over, so that a seam would be heard."""
    samples, _ = decode(wav(tone(9, 44_100), 44_100), "a.wav")
    at_once = resample(tone(9, 44_100), 44_100, SAMPLE_RATE)
    assert len(samples) == len(at_once)
    assert np.abs(samples.astype(int) - at_once).max() <= 2


def test_an_unreadable_spooled_clip_is_no_fault_of_the_clip(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=os.strerror(2)):
        decode(tmp_path / "gone")
