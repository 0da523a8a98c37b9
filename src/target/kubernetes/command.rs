//! Commands in containers: programs among the declaration's files, and the helper before them.

use crate::model::{Command, program_path};
use crate::target::kubernetes::helper;
use crate::target::kubernetes::names::{FILES, HELPER};
use crate::target::kubernetes::workload::Workload;

impl Workload<'_> {
    /// Returns the directory of the service's files in its containers.
    pub(super) fn files_dir(&self) -> String {
        format!("{FILES}/{}", self.name)
    }

    /// Returns the words of a command, with the path of a program among the declaration's files.
    pub(super) fn words(&self, command: &Command) -> Vec<String> {
        let Command(words) = command;
        let mut words = words.clone();
        if let Some(program) = words.first_mut() {
            *program = program_path(self.files_dir().as_str().into(), program).into_string();
        }
        words
    }

    /// Returns a container's command that gets no sockets.
    pub(super) fn command(&self, command: &Command) -> Vec<String> {
        self.environment.in_command(&self.words(command))
    }

    /// Returns the words of a command in which Kubernetes expands no variables.
    pub(super) fn command_expanded(&self, command: &Command) -> Vec<String> {
        self.environment.expanded(&self.words(command))
    }

    /// Lets the helper start a command, with the sockets that the process is passed.
    pub(super) fn with_sockets(&self, command: Vec<String>) -> Vec<String> {
        if !helper::starts(self.service) {
            return command;
        }
        let sockets = self
            .ports
            .of_pods
            .iter()
            .filter_map(|port| Some(["listen".to_owned(), port.number.to_string(), port.descriptor.clone()?]));
        let words = std::iter::once(HELPER.to_owned()).chain(sockets.flatten());
        words.chain(["exec".to_owned()]).chain(command).collect()
    }
}
