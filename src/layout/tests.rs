//! Paths for users, and paths that lead back.

use super::*;

fn user(variables: &[(&str, &str)]) -> Result<Layout, String> {
    let value = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    Layout::user("/".into(), value)
}

#[test]
fn relative_base_directories_are_not_taken() {
    for relative in ["run/user/1000", "./run", ""] {
        let error = user(&[("HOME", "/home/ann"), ("XDG_RUNTIME_DIR", relative)]).expect_err("relative");
        assert_eq!(error, "XDG_RUNTIME_DIR is not an absolute path");
    }
    let variables = [("HOME", "/home/ann"), ("XDG_RUNTIME_DIR", "/run/user/1000"), ("XDG_CONFIG_HOME", "config")];
    let layout = user(&variables).expect("the others have defaults");
    assert_eq!(layout.declaration_dirs()[0], "/home/ann/.config/conductor/services");
    assert_eq!(layout.live(), "/run/user/1000/conductor/generations");
}

#[test]
fn paths_lead_back_to_the_deployment() {
    let layout = Layout::system("/".into());
    let name = ServiceName::new("web-shop").expect("a name");
    let id = GenerationId::new("0123456789ab").expect("an id");
    let deployment = Deployment::new(&name, &id, 12);
    assert_eq!(Deployment::from_dir(&deployment.dir(&layout)), Some(deployment.clone()));
    let metrics = ListenerName::new("metrics").ok();
    for listener in [None, metrics.as_ref()] {
        assert_eq!(Deployment::from_socket(&deployment.socket(&layout, listener)), Some(deployment.clone()));
    }
}
