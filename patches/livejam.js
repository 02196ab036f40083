// The part of livejam.maxpat that counts samples: what was heard leaves in blocks with their positions, and answers are
// written where they are due. For Max's js object. It does what livejam~.pd does; see docs/patches.md.

autowatch = 0;
inlets = 1;
outlets = 3; // to udpsend, delay in samples, meters

var BLOCK = 256;
var RING = 65536;
var ROWS = 4;
var WINDOW_MS = 10000;

var heard = new Buffer("lj-in");
var answers = new Buffer("lj-out");
var on = 1;
var laps = 0;
var index = 0; // of the sample that is heard now
var sent = 0; // blocks that left
var cleared = 0; // samples whose places may be used again
var delay = 0; // samples by which answers sound later than they should
var least = 0; // what the musician asked for: less than 0 = earlier
var needed = 0; // by the latest answer of the last ten seconds
var late = 0;
var lost = 0;
var expected = -1;
var since = new Date().getTime();

function now() {
    return laps * RING + index;
}

// snapshot~ of count~, every few milliseconds
function msg_float(sample) {
    if (sample < index - RING / 2) laps += 1;
    index = Math.floor(sample);
    if (on) send();
    clear();
    settle();
}

function msg_int(sample) {
    msg_float(sample);
}

function send() {
    var complete = Math.floor(now() / BLOCK);
    if (complete - sent > RING / BLOCK / 2) sent = complete; // Max was away: begin anew
    for (; sent < complete; sent++) {
        var samples = heard.peek(1, (sent * BLOCK) % RING, BLOCK);
        outlet(0, ["/stream", sent, sent * BLOCK].concat(samples));
    }
}

// what has sounded must not sound again, one ring later
function clear() {
    var end = now() - delay - BLOCK;
    if (end - cleared > RING / 2) cleared = end - RING / 2;
    for (; cleared + BLOCK <= end; cleared += BLOCK) {
        for (var row = 1; row <= ROWS; row++) {
            answers.poke(row, ((cleared % RING) + RING) % RING, zeros());
        }
    }
}

var nothing = null;
function zeros() {
    if (!nothing) {
        nothing = [];
        for (var i = 0; i < BLOCK; i++) nothing.push(0);
    }
    return nothing;
}

// the delay rises at once, and falls after ten seconds in which less was needed
function settle() {
    if (new Date().getTime() - since < WINDOW_MS) return;
    since = new Date().getTime();
    later(needed);
    needed = least;
}

function later(samples) {
    if (samples === delay) return;
    delay = samples;
    outlet(1, delay);
    outlet(2, "delay", delay);
}

function stream(sequence, position, row, samples) {
    if (expected >= 0 && sequence > expected) {
        lost += sequence - expected;
        outlet(2, "lost", lost);
    }
    expected = sequence + 1;
    var slack = position - now();
    var blocks = Math.ceil(-slack / BLOCK) + 1; // one block more, as this runs between two of them
    needed = Math.max(needed, blocks * BLOCK);
    if (needed > delay) later(needed);
    if (slack + delay < 0) {
        late += 1;
        outlet(2, "late", late);
        return;
    }
    if (row >= ROWS) return;
    var place = position % RING;
    var room = RING - place;
    answers.poke(row + 1, place, samples.slice(0, room));
    if (samples.length > room) answers.poke(row + 1, 0, samples.slice(room));
}

// messages of udpreceive
function anything() {
    var words = arrayfromargs(arguments);
    if (messagename === "/stream") {
        stream(words[0], words[1], words[2], words.slice(3));
    } else if (messagename === "/welcome" || messagename === "/meters" || messagename === "/error") {
        outlet(2, [messagename.slice(1)].concat(words));
    }
}

// controls
function instrument() {
    outlet(0, ["/instrument"].concat(arrayfromargs(arguments)));
}

function level(decibels) {
    outlet(0, ["/level", decibels]);
}

function mute(silent) {
    outlet(0, ["/mute", silent]);
}

function undo(seconds) {
    outlet(0, ["/undo", seconds]);
}

function seed(number) {
    outlet(0, ["/seed", number]);
}

function anticipation(frames) {
    outlet(0, ["/anticipation", frames]);
}

function prompt() {
    outlet(0, ["/prompt"].concat(arrayfromargs(arguments)));
}

function negative_prompt() {
    outlet(0, ["/negative_prompt"].concat(arrayfromargs(arguments)));
}

function guidance() {
    outlet(0, ["/guidance"].concat(arrayfromargs(arguments)));
}

function guidance_rescale(share) {
    outlet(0, ["/guidance_rescale", share]);
}

function reference() {
    outlet(0, ["/reference"].concat(arrayfromargs(arguments)));
}

function reference_row() {
    outlet(0, ["/reference_row"].concat(arrayfromargs(arguments)));
}

function reference_between() {
    outlet(0, ["/reference_between"].concat(arrayfromargs(arguments)));
}

function sketch() {
    outlet(0, ["/sketch"].concat(arrayfromargs(arguments)));
}

function sketch_curve() {
    outlet(0, ["/sketch_curve"].concat(arrayfromargs(arguments)));
}

function sketch_notes() {
    outlet(0, ["/sketch_notes"].concat(arrayfromargs(arguments)));
}

function sketch_free() {
    outlet(0, ["/sketch_free"].concat(arrayfromargs(arguments)));
}

function reset() {
    outlet(0, ["/reset"]);
}

function hello() {
    outlet(0, ["/hello"]);
}

function ahead(milliseconds) {
    least = -Math.round((44.1 * milliseconds) / BLOCK) * BLOCK;
    needed = least;
    later(least);
}

function sending(yes) {
    on = yes;
}
