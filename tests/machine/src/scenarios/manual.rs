//! What docs/ tells people to do: each of its blocks, in its order, as somebody who reads it would.

use conductor_machine::image::{self, IMAGE};
use conductor_machine::machine::Machine;

use super::scenarios;

scenarios!("manual":
    tutorial(|m: &mut Machine| follow(m, include_str!("../../../../docs/tutorial.md"))),
    from_a_unit_file(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/from-a-unit-file.md"))),
    from_quadlet(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/from-quadlet.md"))),
    from_compose(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/from-compose.md"))),
    secrets(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/secrets.md"))),
    databases(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/databases.md"))),
);

/// Writes the files of a page and runs its commands, in /root. Other blocks are only to be looked at.
fn follow(m: &Machine, page: &str) {
    if page.contains(IMAGE) {
        image::make(m, IMAGE, "1");
    }
    let mut commands = 0;
    for (language, text) in blocks(page) {
        if let Some((path, content)) = text.strip_prefix("# file: ").and_then(|rest| rest.split_once('\n')) {
            m.write(&format!("/root/{path}"), content);
        } else if language == "sh" {
            m.run(&format!("cd /root; set -e\n{text}"));
            commands += text.lines().count();
        }
    }
    assert!(commands > 0, "a page without commands");
    m.note(format!("{commands} lines of commands"));
}

/// Fenced blocks: the language, and the text.
fn blocks(page: &str) -> Vec<(&str, &str)> {
    let fenced = page.split("\n```").skip(1).step_by(2);
    fenced.filter_map(|block| block.split_once('\n')).collect()
}
