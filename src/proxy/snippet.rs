//! Lines of the proxies' own configuration that routes have.

use crate::model::Route;

/// Returns the key and what is wrong with a route's lines for a driver; None if they can stand in its block.
pub(super) fn mistake(route: &Route, driver: &str) -> Option<(&'static str, String)> {
    let snippet = route.handling.snippets.get(driver)?;
    (!has_pairs_of_braces(snippet)).then(|| ("snippet", "its braces are not in pairs".to_owned()))
}

/// Returns whether every brace of a snippet closes: else it would end the block around it.
fn has_pairs_of_braces(snippet: &str) -> bool {
    let depth = snippet.chars().try_fold(0_i32, |depth, c| match c {
        '{' => Some(depth + 1),
        '}' if depth == 0 => None,
        '}' => Some(depth - 1),
        _ => Some(depth),
    });
    depth == Some(0)
}
