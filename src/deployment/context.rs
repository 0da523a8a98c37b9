//! The execution environment of a deployment's processes, copied from its unit into a transient unit.

use crate::unitfile::{self, Line};

/// Directives that are not copied: those of the unit's lifecycle and standard streams, systemd.service(5),
/// systemd.exec(5).
const LIFECYCLE: &[&str] = &[
    "BusName",
    "ExecCondition",
    "ExecReload",
    "ExecStart",
    "ExecStartPost",
    "ExecStartPre",
    "ExecStop",
    "ExecStopPost",
    "FileDescriptorStoreMax",
    "FileDescriptorStorePreserve",
    "GuessMainPID",
    "LogExtraFields",
    "NotifyAccess",
    "OOMPolicy",
    "PIDFile",
    "ReloadSignal",
    "RemainAfterExit",
    "Restart",
    "RestartForceExitStatus",
    "RestartMaxDelaySec",
    "RestartMode",
    "RestartPreventExitStatus",
    "RestartSec",
    "RestartSteps",
    "RuntimeDirectoryPreserve",
    "RuntimeMaxSec",
    "RuntimeRandomizedExtraSec",
    "Sockets",
    "StandardError",
    "StandardInput",
    "StandardInputData",
    "StandardInputText",
    "StandardOutput",
    "TTYPath",
    "TTYReset",
    "TTYVHangup",
    "TTYVTDisallocate",
    "TimeoutAbortSec",
    "TimeoutSec",
    "TimeoutStartFailureMode",
    "TimeoutStartSec",
    "TimeoutStopFailureMode",
    "TimeoutStopSec",
    "Type",
    "WatchdogSec",
    "WatchdogSignal",
];

/// Sections with directives of processes; systemd ignores the second one, which is for transient units alone.
const SECTIONS: &[&str] = &["Service", "X-Processes"];

/// Copies the directives of a unit's or a drop-in's processes into one section `[Service]`. `%i` becomes the instance;
/// without an instance, lines with `%i` are left out.
pub(crate) fn of_processes(unit: &str, instance: Option<u32>) -> String {
    of_sections(unit, instance, SECTIONS)
}

/// Copies the directives of podman's own process as [`of_processes`] does, without the sandbox of what runs on the host.
pub(crate) fn of_podman(unit: &str, instance: Option<u32>) -> String {
    of_sections(unit, instance, &SECTIONS[..1])
}

fn of_sections(unit: &str, instance: Option<u32>, sections: &[&str]) -> String {
    let mut context = String::from("[Service]\n");
    for Line { section, key, value, .. } in unitfile::lines(unit) {
        if sections.contains(&section.as_str())
            && !LIFECYCLE.contains(&key.as_str())
            && let Some(value) = with_instance(&value, instance)
        {
            context.push_str(&format!("{key}={value}\n"));
        }
    }
    context
}

/// Replaces `%i` in a unit's value by the instance; None if it is needed and there is none. Other specifiers stay.
pub(crate) fn with_instance(value: &str, instance: Option<u32>) -> Option<String> {
    let mut expanded = String::new();
    let mut characters = value.chars();
    while let Some(c) = characters.next() {
        match (c, if c == '%' { characters.next() } else { None }) {
            ('%', Some('i' | 'I')) => expanded.push_str(&instance?.to_string()),
            (c, next) => expanded.extend([Some(c), next].into_iter().flatten()),
        }
    }
    Some(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: &str = "# [Service]\n[Unit]\nAfter=x.service\n[Service]\nType=notify\nExecStart=/bin/app \\\n  \
                        --flag=1\n; no\nEnvironment=A=100%% \"B=%i\"\nExecPaths=/bin\nUser=shop\n[Install]\nAlias=x\n";

    #[test]
    fn processes_keep_what_is_theirs() {
        let expected = "[Service]\nEnvironment=A=100%% \"B=3\"\nExecPaths=/bin\nUser=shop\n";
        assert_eq!(of_processes(UNIT, Some(3)), expected);
        assert_eq!(of_processes(UNIT, None), "[Service]\nExecPaths=/bin\nUser=shop\n");
    }

    #[test]
    fn processes_have_the_sandbox_that_their_unit_needs_not() {
        let unit = "[Service]\nType=forking\nSlice=x.slice\n\n[X-Processes]\nUser=shop\nPrivateTmp=yes\n\n\
                    [Service]\nPrivateTmp=no\n";
        let expected = "[Service]\nSlice=x.slice\nUser=shop\nPrivateTmp=yes\nPrivateTmp=no\n";
        assert_eq!(of_processes(unit, None), expected);
    }

    #[test]
    fn continued_lines_stay_together() {
        let unit = "[Service]\nReadWritePaths=/a \\\n  /b=%%i\nRestart=always \\\nExecPaths=/c\nUMask=0077";
        assert_eq!(of_processes(unit, None), "[Service]\nReadWritePaths=/a    /b=%%i\nUMask=0077\n");
    }
}
