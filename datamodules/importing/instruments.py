"""The category of an instrument's name, as people write it: "01_Kick_L", "distorted electric guitar", "Lead Vox".

Where General MIDI has the instrument, its category is that of the program (`datamodules.categories`): a harp is among
Strings, an accordion among Organ, a banjo is Ethnic. Recorded voices are Vocal. What a band calls "bass" is Bass, also
when it is a double bass; "strings" are a section, so Ensemble; "keys" are Piano and a synthesizer without further words
is Synth Lead.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from livejam.batch import CATEGORIES

_NAMES = {
    "Piano": "piano, grand piano, upright piano, tack piano, keys, keyboard, clavinet, clavi, harpsichord, rhodes, "
    "wurlitzer, electric piano, e piano, epiano",
    "Chromatic Percussion": "xylophone, vibraphone, vibes, marimba, glockenspiel, celesta, music box, tubular bell, "
    "bell, dulcimer, chime, mallet, pitched percussion, tuned percussion, chromatic percussion",
    "Organ": "organ, electric organ, electronic organ, hammond, pipe organ, church organ, accordion, bandoneon, "
    "concertina, harmonica, harmonium, melodica",
    "Guitar": "guitar, electric guitar, acoustic guitar, lap steel, pedal steel, steel guitar, gtr, egtr, "
    "agtr, mandolin, ukulele, banjo mandolin ukulele harp",
    "Bass": "bass, bass guitar, electric bass, synth bass, bass synth, bass synthesizer, double bass, upright bass, "
    "acoustic bass, sub bass",
    "Strings": "violin, viola, cello, contrabass, harp, pizzicato, timpani, bowed string, "
    "tremolo string, pizzicato string",
    "Ensemble": "ensemble, string, string section, string ensemble, string quartet, orchestra, orchestra hit, "
    "violin section, viola section, cello section, choir aahs, voice oohs, synth voice, synth choir, synth string",
    "Brass": "brass, brass section, trumpet, trombone, tuba, horn, french horn, horn section, cornet, euphonium, "
    "flugelhorn, synth brass",
    "Reed": "sax, saxophone, oboe, english horn, cor anglais, bassoon, bassoon bass, clarinet, bass clarinet, reed",
    "Pipe": "flute, piccolo, recorder, pan flute, panpipe, whistle, ocarina, shakuhachi, dizi, pipe, blown bottle",
    "Synth Lead": "synth lead, lead synth, synth, synthesizer, arp, theremin, lead square, lead sawtooth, "
    "lead calliope, lead chiff, lead charang, lead fifth, lead bass lead",
    "Synth Pad": "synth pad, pad, pad choir",
    "Synth Effects": "synth effect, fx rain, fx soundtrack, fx crystal, fx atmosphere, fx brightness, fx goblin, "
    "fx echo, fx sci fi",
    "Ethnic": "ethnic, sitar, banjo, shamisen, koto, kalimba, bagpipe, fiddle, shanai, erhu, guzheng, liuqin, "
    "zhongruan, yangqin, oud, dilruba",
    "Percussive": "percussive, drum, drum set, drum kit, drumset, drumkit, drum machine, kick, kick drum, bass drum, "
    "snare, snare drum, tom, hihat, hi hat, high hat, hat, cymbal, crash, ride, overhead, oh, percussion, perc, "
    "tambourine, shaker, conga, bongo, cowbell, clap, snap, triangle, cabasa, gong, guiro, gu, castanet, rattle, "
    "maraca, sleigh bell, tinkle bell, agogo, steel drum, woodblock, taiko, tabla, darbuka, doumbek, cajon, djembe",
    "Sound Effects": "fx, sfx, effect, sound effect, scratch, noise, fx processed sound, seashore, bird tweet, "
    "telephone ring, helicopter, applause, gunshot, explosion",
    "Vocal": "vocal, vox, voice, singer, vocalist, choir, rapper, rap, speaker, speech, bgv, beatboxing, beatbox, "
    "vocoder, acapella",
    "Unknown": "other keys, unlabeled",
}

_VOCABULARY = {
    tuple(phrase.split()): None if name == "Unknown" else CATEGORIES.index(name)
    for name, phrases in _NAMES.items()
    for phrase in phrases.split(", ")
}
_LONGEST = max(map(len, _VOCABULARY))
_WORDS = {word for phrase in _VOCABULARY for word in phrase}

MIXES = {"mix", "mixture", "master", "mixdown", "full mix", "main mix", "stereo mix", "main system"}
"""Names of files that hold all stems."""

CLICKS = {"click", "click track", "metronome", "count in"}
"""Names of stems that are not music."""


def normal(name: str) -> str:
    """A name in lower case, its words separated by spaces, without numbers."""
    split = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return " ".join(re.split(r"[\W\d_]+", split.lower())).strip()


def category_named(name: str) -> int | None:
    """The class index (0–17) that an instrument's name says; None if it says none.

    The longest phrase counts, and of several the last: "guitar synth" is a synthesizer.
    """
    words = [_singular(word) for word in normal(name).split()]
    return next((_VOCABULARY[phrase] for phrase in _phrases(words) if phrase in _VOCABULARY), None)


def _phrases(words: list[str]) -> Iterator[tuple[str, ...]]:
    for length in range(min(_LONGEST, len(words)), 0, -1):
        for start in range(len(words) - length, -1, -1):
            yield tuple(words[start : start + length])


def _singular(word: str) -> str:
    if word in _WORDS:
        return word
    return next((word[:-cut] for cut in (1, 2) if word.endswith("es"[-cut:]) and word[:-cut] in _WORDS), word)
