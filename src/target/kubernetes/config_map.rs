//! The files of a declaration, in a ConfigMap.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::target::kubernetes::files::{Files, MountedFile};
use crate::target::kubernetes::workload::Workload;
use crate::target::kubernetes::yaml::{Yaml, is_printable, map};

impl Files {
    /// Renders the ConfigMap.
    pub(super) fn config_maps(&self, workload: &Workload) -> Vec<Yaml> {
        if !self.are_mounted() {
            return Vec::new();
        }
        let (mut data, mut binary) = (BTreeMap::new(), BTreeMap::new());
        for file in &self.all {
            match std::str::from_utf8(&file.content) {
                Ok(text) if text.chars().all(|c| c == '\n' || c == '\t' || is_printable(c)) => {
                    drop(data.insert(&file.key, text.to_owned()));
                }
                _ => drop(binary.insert(&file.key, BASE64_STANDARD.encode(&file.content))),
            }
        }
        let entries = |of: BTreeMap<&String, String>| {
            Yaml::map(of.into_iter().map(|(key, value)| (key.clone(), Yaml::from(value)))).or_absent()
        };
        vec![map! {
            "apiVersion" => "v1",
            "kind" => "ConfigMap",
            "metadata" => workload.metadata(&self.name(workload)),
            "immutable" => true,
            "data" => entries(data),
            "binaryData" => entries(binary),
        }]
    }

    fn name(&self, workload: &Workload) -> String {
        format!("{}-files-{}", workload.name, self.digest())
    }

    /// Renders the volume with the files; None if there is none.
    pub(super) fn volume(&self, workload: &Workload) -> Option<Yaml> {
        let item = |file: &MountedFile| {
            map! {
                "key" => &file.key,
                "path" => file.path.as_str(),
                "mode" => if file.is_executable { 0o555_u32 } else { 0o444 },
            }
        };
        self.are_mounted().then(|| {
            let items: Vec<_> = self.all.iter().map(item).collect();
            map! {
                "name" => "files",
                "configMap" => map! { "name" => self.name(workload), "items" => items },
            }
        })
    }
}
