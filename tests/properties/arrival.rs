//! Where each text of a declaration arrives in the units, and in what form.

use crate::declaration::Seen;
use crate::unit::{expanded, lines, unspecified, values, values_in, words};

/// Arguments of the command that starts as given, behind `skip` words.
fn arguments(compiled: &Seen, key: &str, which: usize, skip: usize) -> Vec<String> {
    let all = values(compiled, key);
    let line = all.get(which).unwrap_or_else(|| panic!("{key} number {which} in {all:?}"));
    words(&unspecified(line)).split_off(skip).iter().map(|word| without_doubled_dollars(word)).collect()
}

/// What systemd makes of a word, where `${NAME}` stays what it is. A word that is only a variable would be split.
fn without_doubled_dollars(word: &str) -> String {
    assert!(!word.starts_with('$') || word.starts_with("$$") || word.starts_with("${"), "{word:?} would be split");
    word.replace("$$", "$")
}

fn variable(compiled: &Seen, name: &str) -> Option<String> {
    let all = values(compiled, "Environment").into_iter().filter(|value| !value.contains("CONDUCTOR_"));
    let assignments: Vec<String> = all.flat_map(|value| words(&unspecified(&value))).collect();
    assignments.iter().find_map(|one| one.strip_prefix(&format!("{name}=")).map(str::to_owned))
}

/// Words of timeout(1) before a hook's own.
const LIMIT: usize = 4;

/// The words behind `--`.
fn after_dashes(line: &str) -> Vec<String> {
    let all = words(line);
    let dashes = all.iter().position(|word| word == "--").expect("two dashes");
    all[dashes + 1..].iter().map(|word| without_doubled_dollars(word)).collect()
}

fn unspecified_all(values: Vec<String>) -> Vec<String> {
    values.iter().map(|value| unspecified(value)).collect()
}

/// The text as it arrives, for those places where it must arrive unchanged.
pub(crate) fn arrived(place: &str, compiled: &Seen) -> Option<Vec<String>> {
    Some(match place {
        "argument" => arguments(compiled, "ExecStart", 0, 1),
        // Conductor's own command comes first.
        "pre_start" => arguments(compiled, "ExecStartPre", 1, LIMIT + 1),
        "post_start" => arguments(compiled, "ExecStartPost", 1, LIMIT + 1),
        "program" => vec![arguments(compiled, "ExecStartPost", 1, LIMIT).swap_remove(0).split_off(1)],
        "word" => vec![arguments(compiled, "ExecStop", 0, LIMIT).swap_remove(0)],
        "pre_stop" => arguments(compiled, "ExecStop", 0, LIMIT + 1),
        "drained" => after_dashes(&expanded(&values(compiled, "ExecStop")[2])).split_off(1),
        "post_stop" => arguments(compiled, "ExecStopPost", 0, LIMIT + 1),
        "on" => unspecified_all(values_in(compiled, "web.service", "ConditionHost")),
        "there" => values_in(compiled, "web.service", "ConditionPathExists")
            .into_iter()
            .map(|value| unspecified(&value).split_off("!/".len()))
            .collect(),
        "config" => vec![variable(compiled, "CONFIG")?],
        "variable" => vec![variable(compiled, "VARIABLE")?],
        "user" => values(compiled, "User"),
        "credential" => vec![unspecified(&values(compiled, "LoadCredential")[0]).split_off("db:/".len())],
        "encrypted" => vec![unspecified(&values(compiled, "LoadCredentialEncrypted")[0]).split_off("key:/".len())],
        "description" => {
            let value = lines(compiled.units.text("web.service".into())?)
                .into_iter()
                .find(|(_, key, _)| key == "Description")
                .map(|(_, _, value)| value);
            vec![unspecified(&value?)]
        }
        // In systemd's own syntax, and handed on as they are; white space around them has no meaning.
        "identifier" => values(compiled, "SyslogIdentifier"),
        // The first is the directory of the deployment.
        "writable" => values(compiled, "ReadWritePaths").split_off(1),
        _ => return None,
    })
}
