//! What a deployment's unit says of its processes, for another unit whose processes are to be like them.

/// Directives about the life of the unit and its streams instead, systemd.service(5) and systemd.exec(5).
const OTHERS: &[&str] = &[
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

/// systemd passes over the second: what it says is only for other units' processes.
const SECTIONS: &[&str] = &["[Service]", "[X-Processes]"];

/// The part of a unit, or of a drop-in for it, that is about its processes, as one section `[Service]`. `%i`
/// is the instance; without one, lines that name it are left out.
pub fn of_processes(unit: &str, instance: Option<u32>) -> String {
    let mut context = String::from("[Service]\n");
    let mut section = "";
    for line in whole_lines(unit) {
        let start = line.trim_start();
        if start.starts_with('[') {
            section = start.trim_end();
        } else if SECTIONS.contains(&section)
            && let Some((key, _)) = start.split_once('=')
            && !start.starts_with(['#', ';'])
            && !OTHERS.contains(&key.trim_end())
            && let Some(line) = with_instance(line, instance)
        {
            context.push_str(&line);
            context.push('\n');
        }
    }
    context
}

/// Lines with those that continue them, as they are written.
fn whole_lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let (mut start, mut end) = (0, 0);
    for line in text.split_inclusive('\n') {
        end += line.len();
        let is_comment = line.trim_start().starts_with(['#', ';']);
        if is_comment || !line.trim_end_matches('\n').ends_with('\\') {
            lines.push(text[start..end].trim_end_matches('\n'));
            start = end;
        }
    }
    lines.push(&text[start..end]);
    lines
}

fn with_instance(line: &str, instance: Option<u32>) -> Option<String> {
    let mut group = String::new();
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        match (c, if c == '%' { characters.next() } else { None }) {
            ('%', Some('i' | 'I')) => group.push_str(&instance?.to_string()),
            (c, next) => group.extend([Some(c), next].into_iter().flatten()),
        }
    }
    Some(group)
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
        assert_eq!(of_processes(unit, None), "[Service]\nReadWritePaths=/a \\\n  /b=%%i\nUMask=0077\n");
    }
}
