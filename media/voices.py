"""The speech synthesisers, as Debian packages them. Each turns texts into samples."""

import subprocess

from loudness import read_wav


class Flite:
    """Flite: statistical models of recorded speakers, 16 kHz (kal16: diphones)."""

    packages = {"flite": "flite"}

    def __init__(self, voice):
        self.voice = voice
        self.name = f"flite, voice `{voice}`"

    def speak(self, texts, folder):
        """Returns rate and samples of each text."""
        spoken = []
        for number, text in enumerate(texts):
            wav = folder / f"{number}.wav"
            subprocess.run(["flite", "-voice", self.voice, "-t", text, "-o", str(wav)], check=True)
            spoken.append(read_wav(wav))
        return spoken


class Espeak:
    """eSpeak NG: rules and formants, 22.05 kHz."""

    packages = {"espeak-ng": "espeak-ng"}

    def __init__(self, voice, words_per_minute=150):
        self.voice, self.pace = voice, words_per_minute
        self.name = f"espeak-ng, voice `{voice}`, {words_per_minute} words a minute"

    def speak(self, texts, folder):
        """Returns rate and samples of each text."""
        spoken = []
        for number, text in enumerate(texts):
            wav = folder / f"{number}.wav"
            # Its usual amplitude of 100 clips now and then.
            command = ["espeak-ng", "-v", self.voice, "-s", str(self.pace), "-a", "60", "-w", str(wav), text]
            subprocess.run(command, check=True)
            spoken.append(read_wav(wav))
        return spoken


class Festival:
    """Festival: diphones (kal, ked) or a statistical model (slt, 32 kHz)."""

    packages = {"festival": "festival"}

    def __init__(self, voice):
        self.voice = voice
        self.name = f"festival, voice `{voice}`"

    def speak(self, texts, folder):
        """Returns rate and samples of each text."""
        script = folder / "speak.scm"
        lines = [f"(voice_{self.voice})"]
        for number, text in enumerate(texts):
            quoted = text.replace("\\", "\\\\").replace('"', '\\"')
            lines.append(f'(utt.save.wave (SynthText "{quoted}") "{folder}/{number}.wav" \'riff)')
        script.write_text("\n".join(lines) + "\n")
        subprocess.run(["festival", "-b", str(script)], check=True)
        return [read_wav(folder / f"{number}.wav") for number in range(len(texts))]
