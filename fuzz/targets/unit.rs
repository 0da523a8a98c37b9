//! A unit's drop-in as the reader of environments takes it: its variables are such as systemd accepts, and written once
//! more as units have them, they are read as the same.
#![no_main]

use conductor::fuzzing::{assignment, environment};
use libfuzzer_sys::fuzz_target;

/// `env_name_is_valid` of systemd's src/basic/env-util.c.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fuzz_target!(|text: &str| {
    let variables = environment("[Service]\nEnvironment=FIRST=1\n", text);
    let mut again = String::from("[Service]\nEnvironment=\n");
    for (name, value) in &variables {
        assert!(is_name(name), "{name:?}");
        assert!(!value.contains('\0'), "{value:?}");
        again.push_str(&format!("Environment={}\n", assignment(name, value)));
    }
    assert_eq!(environment("", &again), variables, "{again}");
});
