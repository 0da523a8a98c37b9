//! Texts for the places of a declaration.

use proptest::prelude::*;

const NASTY: &[&str] = &[
    "\\",
    "\"",
    "'",
    "%",
    "%%",
    "%n",
    "$",
    "$$",
    "${A}",
    ";",
    "#",
    "\n",
    "\r",
    "\r\n",
    "\0",
    "\t",
    " ",
    "=",
    "[",
    "]",
    "\n[Service]\nExecStart=/bin/sh",
    "\\\n",
    "!\n",
    "\u{7f}",
    "\u{85}",
    "\u{2028}",
    "\u{fdd0}",
    "\u{ffff}",
    "\u{feff}",
    "é",
    "{",
    "}",
    "{env.HOME}",
    "/",
    "..",
    ".",
    ":",
    ",",
    "-",
    "+",
    "!",
    "@",
    "|",
    "~",
    "*",
    "a",
    "Z",
    "0",
    "1G",
    "s",
];

/// Texts that are likely to break something, and any others.
pub(crate) fn text() -> impl Strategy<Value = String> {
    let nasty = prop::sample::select(NASTY);
    prop_oneof![
        4 => prop::collection::vec(nasty, 0..6).prop_map(|parts| parts.concat()),
        2 => "\\PC{0,16}",
        2 => any::<String>(),
        2 => "[a-zA-Z0-9./%$\"'\\\\ _-]{1,12}",
        1 => "[a-z0-9.-]{1,12}",
    ]
}
