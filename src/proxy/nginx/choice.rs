//! The choice of a route by more than its path: nginx's locations know paths alone. A map gives the number of the first route
//! whose conditions hold, and the location leads on to that one's internal location.

use std::collections::BTreeSet;

use crate::model::route::Matching;
use crate::proxy::routing::Match;

/// The number of no route.
const NOTHING: &str = "0";
/// What is between the parts of a request that a map looks at: only the last one, the path, may have it.
const BETWEEN: &str = r"\n";

/// A location whose route its path alone does not decide.
#[derive(Debug)]
pub(super) struct Choice {
    /// The location's path: `= /api` or `/api/`.
    pub(super) path: String,
    /// The variable with the number of the route.
    pub(super) variable: String,
    /// The text that the variable is decided by, with nginx's variables.
    pub(super) source: String,
    /// Patterns of that text with numbers of routes; the first one that matches counts.
    pub(super) arms: Vec<(String, String)>,
    /// The number if none matches.
    pub(super) default: String,
}

/// What decides the routes of one host.
#[derive(Debug, Default)]
pub(super) struct Choices {
    pub(super) locations: Vec<Choice>,
    /// The indices of routes that are chosen by more than their path somewhere.
    chosen: BTreeSet<usize>,
    /// The paths of locations whose route the path decides, with the route's index.
    direct: Vec<(String, usize)>,
}

impl Choices {
    /// Decides the routes of a host, which are in the order in which they are tried. Variables are numbered from `first`.
    pub(super) fn of(matches: &[Match], first: usize) -> Self {
        let mut choices = Self::default();
        let mut seen = BTreeSet::new();
        let paths = matches.iter().flat_map(|it| paths(&it.matching));
        for path in paths.filter(|path| seen.insert(path.clone())) {
            let mut candidates = Vec::new();
            for (index, it) in matches.iter().enumerate().filter(|(_, it)| covers(&it.matching, &path)) {
                candidates.push(index);
                if it.matching.is_by_path() {
                    break;
                }
            }
            match candidates.first() {
                Some(index) if matches[*index].matching.is_by_path() => choices.direct.push((path, *index)),
                _ => choices.decide(matches, path, &candidates, first),
            }
        }
        choices
    }

    /// Adds the map for one location.
    fn decide(&mut self, matches: &[Match], path: String, candidates: &[usize], first: usize) {
        self.chosen.extend(candidates);
        let of = |index: &usize| &matches[*index].matching;
        let fields: BTreeSet<_> = candidates.iter().flat_map(|index| of(index).headers.keys()).collect();
        let variables = fields.iter().map(|name| format!("$http_{}", name.replace('-', "_")));
        let variables: Vec<_> =
            ["$request_method".to_owned()].into_iter().chain(variables).chain(["$uri".to_owned()]).collect();
        let (last, conditional) = match candidates.split_last() {
            Some((last, before)) if of(last).is_by_path() => (Some(last), before),
            _ => (None, candidates),
        };
        self.locations.push(Choice {
            path,
            variable: format!("$conductor_choice_{}", first + self.locations.len() + 1),
            source: variables.join(BETWEEN),
            arms: conditional.iter().map(|index| (conditions(of(index), &fields), number(*index))).collect(),
            default: last.map_or_else(|| NOTHING.to_owned(), |index| number(*index)),
        });
    }

    /// Returns whether other routes have the path of this one, too.
    pub(super) fn is_chosen(&self, index: usize) -> bool {
        self.chosen.contains(&index)
    }

    /// Lists the paths of a route's locations, each with whether only a choice leads to it.
    pub(super) fn paths_of(&self, index: usize, matching: &Matching) -> Vec<(String, bool)> {
        let direct = self.direct.iter().filter(|(_, route)| *route == index).map(|(path, _)| (path.clone(), false));
        let internal = paths(matching).into_iter().filter(|_| self.is_chosen(index));
        let internal = internal.map(|path| (path.replacen('/', &format!("{}/", prefix(index)), 1), true));
        direct.chain(internal).collect()
    }
}

/// Returns what an internal location has before the path of its route: no declared path has a colon.
pub(super) fn prefix(index: usize) -> String {
    format!("/:{}", index + 1)
}

/// Returns the paths of the locations of what matches: `= /api` and `/api/`.
fn paths(matching: &Matching) -> Vec<String> {
    let path = &matching.path;
    match (path.as_str(), matching.exact) {
        (_, true) => vec![format!("= {path}")],
        ("/", false) => vec!["/".to_owned()],
        (_, false) => vec![format!("= {path}"), format!("{path}/")],
    }
}

/// Returns whether requests of a location may match.
fn covers(matching: &Matching, location: &str) -> bool {
    if matching.exact {
        return location.strip_prefix("= ") == Some(&matching.path);
    }
    let path = location.strip_prefix("= ").unwrap_or(location).trim_end_matches('/');
    let rest = path.strip_prefix(matching.path.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn number(index: usize) -> String {
    (index + 1).to_string()
}

/// Returns a pattern of the requests that match: their method, these fields, and the path.
fn conditions(matching: &Matching, fields: &BTreeSet<&String>) -> String {
    let Matching { path: _, exact: _, suffixes, methods, headers } = matching;
    let one_of = |words: &BTreeSet<String>| words.iter().map(|it| pattern(it)).collect::<Vec<_>>().join("|");
    let any = format!("[^{BETWEEN}]*");
    let method = if methods.is_empty() { any.clone() } else { format!("(?:{})", one_of(methods)) };
    let field = |name: &&String| headers.get(*name).map_or_else(|| any.clone(), |value| pattern(value));
    let mut parts = vec![method];
    parts.extend(fields.iter().map(field));
    // The path may have any character.
    parts.push(if suffixes.is_empty() { String::new() } else { format!(r"(?s:.*)(?:{})\z", one_of(suffixes)) });
    format!("^{}", parts.join(BETWEEN))
}

/// Writes a text as a pattern of PCRE that it alone matches, without what is special in one of nginx's words.
pub(super) fn pattern(text: &str) -> String {
    let character = |c: char| match c {
        '-' | '_' | '/' | '~' | ' ' | ':' => c.to_string(),
        _ if c.is_ascii_alphanumeric() || !c.is_ascii() => c.to_string(),
        _ => format!(r"\x{:02x}", u32::from(c)),
    };
    text.chars().map(character).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_covered_by_whole_segments() {
        let api = Matching::below("/api");
        for path in ["= /api", "/api/", "= /api/v1", "/api/v1/"] {
            assert!(covers(&api, path) && covers(&Matching::below("/"), path), "{path}");
        }
        for path in ["/", "= /apis", "/apis/", "= /"] {
            assert!(!covers(&api, path), "{path}");
        }
        let exact = Matching { exact: true, ..api };
        assert!(covers(&exact, "= /api") && !covers(&exact, "/api/"));
    }

    #[test]
    fn patterns_have_no_special_characters() {
        assert_eq!(pattern(r#"a.b "$1"; {\}"#), r"a\x2eb \x22\x241\x22\x3b \x7b\x5c\x7d");
    }
}
