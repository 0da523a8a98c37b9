//! What a CGI program writes: taken or refused, the same however it is cut into reads.
#![no_main]

use conductor::fuzzing::{Head, head};
use libfuzzer_sys::fuzz_target;

/// As the gateway reads it: so many bytes at a time, until it is clear what they are.
fn read(data: &[u8], nph: bool, step: usize) -> Result<Head, &'static str> {
    let mut end = 0;
    while end < data.len() {
        end = data.len().min(end + step);
        let found = head(&data[..end], nph)?;
        if let Head::Complete { length, status, has_hop_by_hop, .. } = &found {
            assert!(*length <= end, "{length} of {end}");
            assert!((200..600).contains(status), "{status}");
            assert!(!has_hop_by_hop);
        }
        if found != Head::Partial {
            return Ok(found);
        }
    }
    Ok(Head::Partial)
}

fuzz_target!(|data: &[u8]| {
    for nph in [false, true] {
        let whole = read(data, nph, usize::MAX / 2);
        let bytewise = read(data, nph, 1);
        match (&whole, &bytewise) {
            (Ok(whole), Ok(bytewise)) => assert_eq!(whole, bytewise),
            (Err(_), Err(_)) => {}
            // What comes behind its end does not count; nor is it known of all that is wrong at once.
            _ => panic!("{whole:?} at once, {bytewise:?} byte by byte"),
        }
    }
});
