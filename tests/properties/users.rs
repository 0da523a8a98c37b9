//! A user's base directories, whatever they are called.

use camino::Utf8Path;
use conductor::compile;
use conductor::layout::Layout;
use conductor::names::ServiceName;
use proptest::prelude::*;

use crate::declaration::{declare_in, web_of};
use crate::unit::{INSTANCE, expanded, last_argument, values, values_in, words};
use conductor::target::systemd::Units;

/// A directory that a user's base directories may be in.
fn base_directory() -> impl Strategy<Value = String> {
    let parts = prop::sample::select(vec![
        " ", "%", "%i", "%%", "$", "$$", "$HOME", "${HOME}", ";", "#", "=", "~", "{", "é", "a", "Z", "-", ":",
    ]);
    prop::collection::vec(parts, 0..5).prop_map(|parts| format!("/x{}", parts.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a user's base directories are called, their paths arrive in what conductor writes itself.
    #[test]
    fn a_users_directories_arrive(config in base_directory(), state in base_directory(), runtime in base_directory()) {
        let root = tempfile::tempdir().expect("a scratch directory");
        let root = Utf8Path::from_path(root.path()).expect("a UTF-8 path");
        let variable = |name: &str| match name {
            "HOME" => Some("/home/ann"),
            "XDG_CONFIG_HOME" => Some(config.as_str()),
            "XDG_STATE_HOME" => Some(state.as_str()),
            "XDG_RUNTIME_DIR" => Some(runtime.as_str()),
            _ => None,
        };
        let layout = Layout::user(root, |name| variable(name).map(str::to_owned)).expect("a user's layout");
        let name = ServiceName::new("web").expect("a name");
        let declaration = layout.declaration(&name);
        declare_in(&layout.at(&declaration), b"[exec]\ncommand = ['./server']\n");
        let host = compile::compile(&layout, &Units(Some(252)));
        let compiled = &web_of(&layout, &host).unwrap_or_else(|| panic!("{:?}", host.errors));

        let files = layout.files(&name, &compiled.id);
        let deployment = layout.deployments().join(format!("web-{}-{INSTANCE}", compiled.id));
        let socket = layout.sockets(&name, &compiled.id).join(INSTANCE);
        let environment: Vec<String> =
            values(compiled, "Environment").iter().flat_map(|line| words(&expanded(line))).collect();
        for (variable, path) in [("SERVICE", &files), ("DEPLOYMENT", &deployment.join("own"))] {
            let assignment = format!("CONDUCTOR_{variable}_DIR={path}");
            prop_assert!(environment.contains(&assignment), "{} in {:?}", assignment, environment);
        }
        prop_assert!(environment.contains(&format!("CONDUCTOR_SOCKET={socket}")), "{:?}", environment);
        prop_assert_eq!(environment.len(), 7);
        prop_assert_eq!(expanded(&values(compiled, "WorkingDirectory")[0]), files.as_str());
        prop_assert_eq!(words(&expanded(&values(compiled, "ExecStart")[0])), [files.join("server").into_string()]);
        let template = format!("web-{}@.socket", compiled.id);
        prop_assert_eq!(expanded(&values_in(compiled, &template, "ListenStream")[0]), socket.as_str());
        for key in ["ExecStartPost", "ExecStop", "ExecStopPost"] {
            prop_assert_eq!(last_argument(&values(compiled, key)[0]), deployment.as_str());
        }
        for key in ["ExecStart", "ExecReload", "ExecStop", "ExecStopPost"] {
            prop_assert_eq!(last_argument(&values_in(compiled, "web.service", key)[0]), declaration.as_str());
        }
        let source = declaration.join("service.toml");
        for unit in ["web.service", "conductor-web.slice", &template] {
            prop_assert_eq!(expanded(&values_in(compiled, unit, "SourcePath")[0]), source.as_str());
        }
    }
}
