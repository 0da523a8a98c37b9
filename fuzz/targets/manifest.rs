//! A function.toml: refused with a place and a remedy, or compiled to units of which no line is broken.
#![no_main]

use conductor::fuzzing::units_of_function;
use libfuzzer_sys::fuzz_target;

fn is_line(line: &str) -> bool {
    let is_assignment = |(key, _): (&str, &str)| key.chars().all(|c| c.is_ascii_alphanumeric());
    line.is_empty() || line.starts_with(['[', '#']) || line.split_once('=').is_some_and(is_assignment)
}

fuzz_target!(|text: &str| match units_of_function(text) {
    Err(errors) => {
        assert!(!errors.is_empty());
        assert!(errors.iter().all(|(_, remedy)| !remedy.is_empty()), "{errors:?}");
    }
    Ok(units) => {
        for unit in units {
            assert!(unit.lines().all(is_line), "{unit}");
        }
    }
});
