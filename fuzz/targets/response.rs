//! What a CGI program writes: taken or refused, the same however it is cut into reads.
#![no_main]

use conductor::gateway::header::Malformed;
use conductor::gateway::header::Parsed;
use conductor::gateway::header::is_hop_by_hop;
use conductor::gateway::header::parse;
use conductor::gateway::header::parse_nph;
use libfuzzer_sys::fuzz_target;

/// As the gateway reads it: so many bytes at a time, until it is clear what they are.
fn read(parse: fn(&[u8]) -> Result<Parsed, Malformed>, data: &[u8], step: usize) -> Result<Parsed, Malformed> {
    let mut end = 0;
    while end < data.len() {
        end = data.len().min(end + step);
        match parse(&data[..end])? {
            Parsed::Partial => {}
            Parsed::Head(head, length) => {
                assert!(length <= end, "{length} of {end}");
                assert!((200..600).contains(&head.status.as_u16()), "{}", head.status);
                assert!(!head.headers.keys().any(|name| is_hop_by_hop(name.as_str())));
                return Ok(Parsed::Head(head, length));
            }
            local @ Parsed::Local(_) => return Ok(local),
        }
    }
    Ok(Parsed::Partial)
}

fuzz_target!(|data: &[u8]| {
    for parse in [parse as fn(&[u8]) -> _, parse_nph] {
        let group = read(parse, data, usize::MAX / 2);
        let bytewise = read(parse, data, 1);
        match (&group, &bytewise) {
            (Ok(group), Ok(bytewise)) => assert_eq!(group, bytewise),
            (Err(_), Err(_)) => {}
            // What comes behind its end does not count; nor is it known of all that is wrong at once.
            _ => panic!("{group:?} at once, {bytewise:?} byte by byte"),
        }
    }
});
