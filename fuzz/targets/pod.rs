//! A pod's file: refused with a place and a remedy, or completed to objects that are completed to the same once more.
#![no_main]

use std::sync::LazyLock;

use camino::Utf8PathBuf;
use conductor::fuzzing::Pods;
use libfuzzer_sys::fuzz_target;

static ROOT: LazyLock<Utf8PathBuf> = LazyLock::new(|| {
    Utf8PathBuf::from_path_buf(tempfile::tempdir().expect("a scratch directory").keep()).expect("UTF-8")
});
static PODS: LazyLock<Pods> = LazyLock::new(|| Pods::new(&ROOT));

fuzz_target!(|text: &str| {
    match PODS.objects(&ROOT, text) {
        Err((message, remedy)) => assert!(!remedy.is_empty(), "{message}"),
        Ok(objects) => {
            assert!(objects.iter().any(|object| object["kind"] == "Pod"), "{objects:#?}");
            assert!(objects.iter().all(|object| object.is_object()), "{objects:#?}");
        }
    }
});
