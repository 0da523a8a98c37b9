//! The order in which files were created.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use camino::Utf8Path;
use conductor::compile;
use conductor::layout::Layout;
use conductor::target::systemd::Units;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    /// What was created first makes no difference.
    #[test]
    fn the_order_of_creation_makes_no_difference(order in Just((0..12).collect::<Vec<_>>()).prop_shuffle()) {
        let files: Vec<(String, String)> = (0..12).map(|number| match number % 4 {
            0 => (format!("s{number}/service.toml"), format!("[exec]\ncommand = ['./f']\n[[route]]\nhost = ['h{}.test']\n", number % 8)),
            1 => (format!("s{}/f", number - 1), "program".to_owned()),
            2 => (format!("s{}.d/{number}.toml", number - 2), format!("concurrency = {number}\n")),
            _ => (format!("s{}.d/{number}.conf", number - 3), format!("[Service]\nNice={number}\n")),
        }).collect();
        let compiled = |order: &[usize]| {
            let root = tempfile::tempdir().expect("a scratch directory");
            let root = Utf8Path::from_path(root.path()).expect("a UTF-8 path");
            for (path, content) in order.iter().map(|number| &files[*number]) {
                let path = root.join("etc/conductor/services").join(path);
                fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
                fs::write(&path, content).expect("a file");
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
            }
            let (layout, target) = (Layout::system(root), Units(Some(252)));
            let mut host = compile::compile(&layout, &target);
            let tree = host.tree(&layout, &target);
            let errors: BTreeSet<String> = host.errors.values().map(ToString::to_string).collect();
            (tree, errors)
        };
        let sorted: Vec<usize> = (0..12).collect();
        prop_assert_eq!(compiled(&order), compiled(&sorted));
    }
}
