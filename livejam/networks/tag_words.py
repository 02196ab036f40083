"""The words that the tag encoder knows; their order is part of its weights, so new ones go to the end."""

_INSTRUMENTS = """
piano chromatic percussion organ guitar bass strings ensemble brass reed pipe synth lead pad effects ethnic
percussive sound vocal unknown drums acoustic grand bright electric honky tonk harpsichord clavinet celesta
glockenspiel music box vibraphone marimba xylophone tubular bells dulcimer drawbar rock church accordion harmonica
tango nylon steel jazz clean muted overdriven distortion harmonics finger pick fretless slap violin viola cello
contrabass tremolo pizzicato orchestral harp timpani string choir aahs voice oohs orchestra hit trumpet trombone tuba
french horn section soprano sax alto tenor baritone oboe english bassoon clarinet piccolo flute recorder pan blown
bottle shakuhachi whistle ocarina square sawtooth calliope chiff charang fifths new age warm polysynth bowed metallic
halo sweep fx rain soundtrack crystal atmosphere brightness goblins echoes sci fi sitar banjo shamisen koto kalimba
bagpipe fiddle shanai tinkle bell agogo woodblock taiko drum melodic tom reverse cymbal fret noise breath seashore
bird tweet telephone ring helicopter applause gunshot
"""

_MOODS = """
happy sad calm energetic dark aggressive relaxed dreamy epic romantic tense playful melancholic hopeful mysterious
funky groovy swinging fast slow loud soft sparse dense major minor pop disco ballad blues folk funk soul latin
classical electronic ambient techno house metal punk reggae country
"""

TAG_WORDS: tuple[str, ...] = tuple(_INSTRUMENTS.split() + _MOODS.split())
"""Instrument words of StreamMusicGen's categories and of General MIDI, then words of mood and style."""
